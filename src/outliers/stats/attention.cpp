#include "outliers/stats/attention.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/core/shape.h"

namespace outliers::stats {
namespace {

bool larger(const KeyScore& a, const KeyScore& b) {
  if (a.score != b.score) return a.score > b.score;
  return a.sequence != b.sequence ? a.sequence < b.sequence : a.key < b.key;
}

}  // namespace

AttentionAccumulator::AttentionAccumulator(AttentionOptions options) : options_(options) {}

void AttentionAccumulator::add(const at::Tensor& key_sums, const at::Tensor& sink_rates,
                               int64_t first_sequence) {
  check_shape(key_sums, "AttentionAccumulator::add", "key_sums", {-1, -1, -1});
  check_shape(sink_rates, "AttentionAccumulator::add", "sink_rates", {key_sums.size(0), key_sums.size(1)});
  const at::Tensor sums = key_sums.to(at::kCPU, at::kFloat), rates = sink_rates.to(at::kCPU, at::kFloat);
  for (int64_t b = 0; b < sums.size(0); ++b) {
    const int64_t number = first_sequence + b;
    for (const Sequence& s : sequences_) {
      require(s.number != number, "AttentionAccumulator::add: sequence {} was added before", number);
      check_shape(sums[b], "AttentionAccumulator::add", "key_sums", {s.key_sums.size(0), -1});
    }
    sequences_.push_back({number, sums[b].contiguous(), rates[b].contiguous()});
  }
}

void AttentionAccumulator::merge(const AttentionAccumulator& other) {
  for (const Sequence& s : other.sequences_)
    add(s.key_sums.unsqueeze(0), s.sink_rates.unsqueeze(0), s.number);
}

AttentionSummary AttentionAccumulator::finish() const {
  AttentionSummary out;
  if (sequences_.empty()) return out;
  std::vector<Sequence> ordered = sequences_;
  std::sort(ordered.begin(), ordered.end(),
            [](const Sequence& a, const Sequence& b) { return a.number < b.number; });
  const int64_t heads = ordered.front().key_sums.size(0);
  std::vector<KeyScore> scores;
  std::vector<double> outlier_mass(static_cast<size_t>(heads), 0), mass(static_cast<size_t>(heads), 0);
  out.heads.resize(static_cast<size_t>(heads));
  out.top3_mean.assign(3, 0.0);
  for (const Sequence& s : ordered) {
    const int64_t keys = s.key_sums.size(1);
    const at::Tensor finite = s.key_sums.isfinite();
    out.nonfinite += keys * heads - finite.sum().item<int64_t>();
    const at::Tensor sums = s.key_sums.to(at::kDouble).masked_fill(finite.logical_not(), 0).contiguous();
    const at::Tensor means = sums.mean(0);
    const auto sum = sums.accessor<double, 2>();
    const auto mean = means.accessor<double, 1>();
    std::vector<double> largest;
    for (int64_t key = 0; key < keys; ++key) {
      scores.push_back({s.number, key, mean[key]});
      largest.push_back(mean[key]);
      const bool outlier = mean[key] >= options_.outlier_share * static_cast<double>(keys);
      if (outlier) out.outlier_keys.push_back(scores.back());
      for (int64_t h = 0; h < heads; ++h) {
        mass[static_cast<size_t>(h)] += sum[h][key];
        if (outlier) outlier_mass[static_cast<size_t>(h)] += sum[h][key];
      }
    }
    std::partial_sort(largest.begin(), largest.begin() + std::min<int64_t>(3, keys), largest.end(),
                      std::greater<>());
    for (size_t i = 0; i < std::min<size_t>(3, largest.size()); ++i)
      out.top3_mean[i] += largest[i] / static_cast<double>(ordered.size());
    for (int64_t h = 0; h < heads; ++h) {
      const bool sink = s.sink_rates[h].item<double>() > options_.sink_epsilon;
      out.heads[static_cast<size_t>(h)].sink_rate += sink ? 1.0 / static_cast<double>(ordered.size()) : 0.0;
    }
  }
  for (size_t h = 0; h < out.heads.size(); ++h)
    out.heads[h].outlier_share = mass[h] > 0 ? outlier_mass[h] / mass[h] : 0;

  const auto n = static_cast<int64_t>(scores.size());
  std::sort(scores.begin(), scores.end(), larger);
  out.median =
      (scores[static_cast<size_t>((n - 1) / 2)].score + scores[static_cast<size_t>(n / 2)].score) / 2;
  scores.resize(static_cast<size_t>(std::min(n, options_.top)));
  out.top_keys = std::move(scores);
  return out;
}

}  // namespace outliers::stats
