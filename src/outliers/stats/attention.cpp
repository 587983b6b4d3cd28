#include "outliers/stats/attention.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "outliers/core/bytes.h"
#include "outliers/core/shape.h"
#include "outliers/stats/error.h"

namespace outliers::stats {
namespace {

bool stands_before(const KeyScore& a, const KeyScore& b) {
  if (a.score != b.score) return a.score > b.score;
  return a.sequence != b.sequence ? a.sequence < b.sequence : a.key < b.key;
}

/// Mean of the two middle values; reorders.
double median_of(std::vector<double>& values) {
  const auto high = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), high, values.end());
  if (values.size() % 2 == 1) return *high;
  return (*std::max_element(values.begin(), high) + *high) / 2;
}

}  // namespace

AttentionAccumulator::AttentionAccumulator(AttentionOptions options) : options_(options) {}

void AttentionAccumulator::add(const at::Tensor& key_sums, const at::Tensor& sink_rates,
                               int64_t first_sequence) {
  constexpr const char* kHere = "AttentionAccumulator::add";
  const bool first = sequences_.empty();
  check_shape(key_sums, kHere, "key_sums",
              {-1, first ? -1 : sequences_.front().key_sums.size(0),
               first ? -1 : sequences_.front().key_sums.size(1)});
  check_shape(sink_rates, kHere, "sink_rates", {key_sums.size(0), key_sums.size(1)});
  const at::Tensor sums = key_sums.detach().to(at::kCPU, at::kFloat).contiguous();
  const at::Tensor rates = sink_rates.detach().to(at::kCPU, at::kFloat).contiguous();
  for (int64_t b = 0; b < sums.size(0); ++b) {
    const int64_t number = first_sequence + b;
    // Kept in the order of their numbers: sums then do not depend on the order of calls.
    const auto place = std::lower_bound(sequences_.begin(), sequences_.end(), number,
                                        [](const Sequence& s, int64_t n) { return s.number < n; });
    require(place == sequences_.end() || place->number != number, "{}: sequence {} was added before", kHere,
            number);
    // Clones, because a caller may reuse what a CPU float32 tensor shares with it.
    sequences_.insert(place, {number, sums[b].clone(), rates[b].clone()});
  }
}

void AttentionAccumulator::merge(const AttentionAccumulator& other) {
  for (const Sequence& s : other.sequences_) {
    add(s.key_sums.unsqueeze(0), s.sink_rates.unsqueeze(0), s.number);
  }
}

void AttentionAccumulator::save(ByteWriter& out) const {
  out.put(sequences_.size());
  for (const Sequence& s : sequences_) {
    out.put(s.number);
    out.put(s.key_sums);
    out.put(s.sink_rates);
  }
}

AttentionAccumulator AttentionAccumulator::load(ByteReader& in, AttentionOptions options) {
  AttentionAccumulator accumulator(options);
  for (auto count = in.get<size_t>(); count > 0; --count) {
    const auto number = in.get<int64_t>();
    const at::Tensor key_sums = in.get_tensor();
    accumulator.sequences_.push_back({number, key_sums, in.get_tensor()});
  }
  return accumulator;
}

AttentionSummary AttentionAccumulator::finish() const {
  AttentionSummary out;
  if (sequences_.empty()) return out;
  const int64_t H = sequences_.front().key_sums.size(0), T = sequences_.front().key_sums.size(1);
  const auto heads = static_cast<size_t>(H);
  out.heads.resize(heads);
  std::vector<double> mass(heads, 0.0), outlier_mass(heads, 0.0);
  std::vector<int64_t> sinks(heads, 0), sink_sequences(heads, 0);
  std::vector<KeyScore> scores;
  out.key_scores = at::full({static_cast<int64_t>(sequences_.size()), T}, NAN);
  float* listed = out.key_scores.data_ptr<float>();
  std::array<double, 3> top3{};
  std::array<int64_t, 3> have{};

  for (const Sequence& s : sequences_) {
    const float* sums = s.key_sums.const_data_ptr<float>();
    const size_t first = scores.size();
    for (int64_t key = 0; key < T; ++key, ++listed) {
      double score = 0;
      int64_t finite = 0;
      for (int64_t h = 0; h < H; ++h) {
        const double sum = static_cast<double>(sums[h * T + key]);
        if (!std::isfinite(sum)) continue;
        score += sum;
        ++finite;
      }
      out.nonfinite += H - finite;
      if (finite == 0) continue;
      score /= static_cast<double>(finite);
      scores.push_back({s.number, key, score});
      *listed = static_cast<float>(score);
      const bool outlier = score >= options_.criteria.outlier_key_share * static_cast<double>(T);
      if (outlier) out.outlier_keys.push_back(scores.back());
      for (int64_t h = 0; h < H; ++h) {
        const double sum = static_cast<double>(sums[h * T + key]);
        if (!std::isfinite(sum)) continue;
        mass[static_cast<size_t>(h)] += sum;
        if (outlier) outlier_mass[static_cast<size_t>(h)] += sum;
      }
    }
    std::vector<KeyScore> largest(std::min<size_t>(3, scores.size() - first));
    std::partial_sort_copy(scores.begin() + static_cast<int64_t>(first), scores.end(), largest.begin(),
                           largest.end(), stands_before);
    for (size_t i = 0; i < largest.size(); ++i) {
      top3[i] += largest[i].score;
      ++have[i];
    }
    const float* rates = s.sink_rates.const_data_ptr<float>();
    for (size_t h = 0; h < heads; ++h) {
      if (!std::isfinite(rates[h])) {
        ++out.nonfinite;
        continue;
      }
      ++sink_sequences[h];
      if (static_cast<double>(rates[h]) > options_.criteria.sink_epsilon) ++sinks[h];
    }
  }

  for (size_t i = 0; i < 3; ++i) {
    out.top3_mean.push_back(have[i] > 0 ? top3[i] / static_cast<double>(have[i]) : 0.0);
  }
  for (size_t h = 0; h < heads; ++h) {
    if (mass[h] > 0) out.heads[h].outlier_share = outlier_mass[h] / mass[h];
    if (sink_sequences[h] > 0) {
      out.heads[h].sink_rate = static_cast<double>(sinks[h]) / static_cast<double>(sink_sequences[h]);
    }
  }
  if (scores.empty()) return out;
  std::vector<double> values;
  for (const KeyScore& s : scores) values.push_back(s.score);
  out.median = median_of(values);
  out.top_keys.resize(std::min(scores.size(), static_cast<size_t>(std::max<int64_t>(options_.top, 0))));
  std::partial_sort_copy(scores.begin(), scores.end(), out.top_keys.begin(), out.top_keys.end(),
                         stands_before);
  return out;
}

}  // namespace outliers::stats
