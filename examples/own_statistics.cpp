// The statistics of a survey, of a tensor of one's own: here a ramp with one massive value.
#include <iostream>

#include <ATen/ops/linspace.h>
#include <outliers/outliers.h>

int main() {
  at::Tensor x = at::linspace(-1, 1, 2 * 16 * 64).view({2, 16, 64}).clone();  // [B, T, C]
  x[1][3].select(0, 17).fill_(-3000);

  outliers::stats::ActivationAccumulator activations;
  activations.add(x, /*first_sequence=*/0);
  if (activations.needs_refinement()) activations.refine(x, 0);
  const outliers::stats::ActivationSummary summary = activations.finish();
  std::cout << "median of abs x: " << summary.median << ", largest: " << summary.max << "\n";
  for (const outliers::stats::ActivationValue& value : summary.massive)
    std::cout << "massive: " << value.value << " of sequence " << value.sequence << ", token " << value.token
              << ", channel " << value.channel << "\n";

  const outliers::stats::WeightSummary weights = outliers::stats::weight_summary(x[0]);
  std::cout << "largest weight over its line's mean: " << weights.score << "\n";
}
