#include "outliers/studies/definitions.h"

namespace outliers::studies {

nlohmann::ordered_json definitions(bool images) {
  nlohmann::ordered_json list = {
      {"massive",
       "abs x > 100 and abs x > 1000 x median of abs x over all tokens and channels of the layer "
       "(arXiv 2402.17762)"},
      {"outlier_token", "max over channels of abs x > 1000 x mean of abs x (arXiv 2502.06415)"},
      {"weight_score",
       "largest max/mean of abs W over all rows and all columns (arXiv 2502.06415, section 3.2)"},
      {"key_score",
       "attention probability summed over queries, mean over heads (arXiv 2502.06415, section 3.3)"},
      {"outlier_key", "key_score >= 0.1 x tokens of the sequence (arXiv 2502.06415, section 3.3)"},
      {"sink_rate",
       "share of sequences whose first key receives more than 0.3 on average over the first 64 queries "
       "(arXiv 2410.10781, Sink_1 at epsilon 0.3)"},
      {"kurtosis_pearson",
       "activations: E(x-mu)^4 / (std^4 + 1e-6) per sequence, mean over sequences (arXiv "
       "2306.12929); weights: no epsilon"},
      {"infinity_norm", "max of abs x per sequence, mean over sequences (arXiv 2306.12929)"},
      {"born_layer",
       "largest factor of max/median of abs resid_out over the layer before, up to the peak, on the "
       "prompt (compare arXiv 2603.05498, step-up block)"},
      {"first_nonfinite",
       "first layer and point with a value that is NaN or infinite; the summary tells of the layers before "
       "it"},
      {"removed_layer",
       "first layer after the peak from which on the max stays below half of the peak's, on the "
       "prompt"},
  };
  if (images) {
    list["norm"] = "L2 norm of a token's resid_out";
    list["high_patch"] =
        "a patch whose norm in the last layer's output is above 150 (arXiv 2309.16588, for DINOv2-g; norms "
        "differ "
        "from model to model, so the median stands beside)";
  }
  return list;
}

}  // namespace outliers::studies
