#include "outliers/stats/activations.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <ATen/ATen.h>

#include "outliers/core/bytes.h"
#include "outliers/core/shape.h"
#include "outliers/core/thresholds.h"
#include "outliers/stats/error.h"
#include "outliers/stats/magnitudes.h"
#include "outliers/stats/partial.h"

namespace outliers::stats {
namespace {

constexpr double kKurtosisEpsilon = 1e-6;  // Bondarenko et al. 2306.12929
// So many of the largest values above massive_above are listed at least, so that they can be counted from the
// list when the threshold is known.
constexpr int64_t kCandidates = 4096;

struct Sequence {
  SequencePartial sums;
  at::Tensor token_max;  // [T] float32, CPU
};

/// float64 is taken as float32.
at::Tensor in_known_dtype(const at::Tensor& x, const char* function) {
  const at::ScalarType dtype = x.scalar_type();
  if (dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16) return x.detach();
  if (dtype == at::kDouble) return x.detach().to(at::kFloat);
  fail("{}: x is {}, wanted float32, float16, bfloat16 or float64", function, at::toString(dtype));
}

}  // namespace

struct ActivationAccumulator::State {
  explicit State(const ActivationOptions& o) : options(o) {}

  ActivationOptions options;
  std::optional<Magnitudes> magnitudes;   // from the first tensor on
  std::map<int64_t, Sequence> sequences;  // by number
  at::Tensor channel_max;                 // [C]
  std::vector<ActivationValue> largest;   // as ActivationPartial::largest, over all sequences
  std::vector<int64_t> refined_bins;      // fixed by the first refine()
  bool refining = false;

  int64_t listed() const { return std::max({options.top, options.massive_limit, kCandidates}); }

  /// Keeps the `top` first, and of those above massive_above `listed()`.
  void trim_largest() {
    std::sort(largest.begin(), largest.end(), stands_before);
    const auto end = std::find_if(largest.begin(), largest.end(), [&](const ActivationValue& v) {
      return !(std::abs(v.value) > options.criteria.massive_above);
    });
    const int64_t above = std::min<int64_t>(end - largest.begin(), listed());
    const int64_t keep = std::max(above, options.top);
    if (keep < static_cast<int64_t>(largest.size())) largest.resize(static_cast<size_t>(keep));
  }

  double threshold(double median) const { return massive_threshold(median, options.criteria); }

  /// Whether every value above the threshold is in `largest`.
  bool lists_all_above(double threshold) const {
    return static_cast<int64_t>(largest.size()) < listed() || std::abs(largest.back().value) <= threshold;
  }

  std::optional<int64_t> massive_count(double median) const {
    const double limit = threshold(median);
    if (!lists_all_above(limit)) return magnitudes->count_above(limit);
    return std::count_if(largest.begin(), largest.end(),
                         [&](const ActivationValue& v) { return std::abs(v.value) > limit; });
  }

  bool is_exact() const {
    if (!magnitudes) return true;
    const std::optional<double> median = magnitudes->median();
    return median && massive_count(*median);
  }

  /// The bins that can hold the median, and the threshold it gives where the list does not reach down to it.
  std::vector<int64_t> bins_to_refine() const {
    const std::optional<double> known = magnitudes->median();
    std::vector<int64_t> bins;
    double low = 0, high = 0;
    if (known) {
      low = high = *known;
    } else {
      bins = magnitudes->median_bins();
      low = (magnitudes->bin_low(bins.front()) + magnitudes->bin_low(bins.back())) / 2;
      high = (magnitudes->bin_high(bins.front()) + magnitudes->bin_high(bins.back())) / 2;
    }
    if (!lists_all_above(threshold(low))) {
      for (int64_t bin : magnitudes->bins_between(threshold(low), threshold(high))) bins.push_back(bin);
    }
    std::sort(bins.begin(), bins.end());
    bins.erase(std::unique(bins.begin(), bins.end()), bins.end());
    std::erase_if(bins, [&](int64_t bin) { return magnitudes->is_counted(bin); });
    return bins;
  }
};

ActivationAccumulator::ActivationAccumulator(ActivationOptions options)
    : state_(std::make_unique<State>(options)) {}
ActivationAccumulator::~ActivationAccumulator() = default;
ActivationAccumulator::ActivationAccumulator(ActivationAccumulator&&) noexcept = default;
ActivationAccumulator& ActivationAccumulator::operator=(ActivationAccumulator&&) noexcept = default;

void ActivationAccumulator::add(const at::Tensor& tensor, int64_t first_sequence) {
  State& s = *state_;
  constexpr const char* kHere = "ActivationAccumulator::add";
  const bool first = !s.magnitudes;
  check_shape(
      tensor, kHere, "x",
      {-1, first ? -1 : s.sequences.begin()->second.token_max.size(0), first ? -1 : s.channel_max.size(0)});
  require(tensor.size(1) > 0 && tensor.size(2) > 0, "{}: x has shape {}, wanted tokens and channels", kHere,
          shape_string(tensor.sizes()));
  require(!s.refining, "{}: called after refine()", kHere);
  if (tensor.size(0) == 0) return;
  const at::Tensor x = in_known_dtype(tensor, kHere);
  require(first || s.magnitudes->dtype() == x.scalar_type(), "{}: x is {} and was {} before", kHere,
          at::toString(x.scalar_type()), at::toString(first ? x.scalar_type() : s.magnitudes->dtype()));
  for (int64_t b = 0; b < x.size(0); ++b) {
    require(!s.sequences.contains(first_sequence + b), "{}: sequence {} was added before", kHere,
            first_sequence + b);
  }

  if (first) {
    s.magnitudes.emplace(x.scalar_type());
    s.magnitudes->guess(x);
  }
  ActivationPartial partial = activation_partial(
      x, {s.magnitudes->keep(), s.options.top, s.listed(), s.options.criteria.massive_above});
  s.magnitudes->add(partial);
  for (int64_t b = 0; b < x.size(0); ++b) {
    s.sequences.emplace(first_sequence + b,
                        Sequence{partial.sequences[static_cast<size_t>(b)], partial.token_max[b]});
  }
  s.channel_max = first ? partial.channel_max : at::maximum(s.channel_max, partial.channel_max);
  for (ActivationValue& v : partial.largest) v.sequence += first_sequence;
  s.largest.insert(s.largest.end(), partial.largest.begin(), partial.largest.end());
  s.trim_largest();
}

bool ActivationAccumulator::needs_refinement() const {
  return !state_->is_exact();
}

void ActivationAccumulator::refine(const at::Tensor& tensor, int64_t first_sequence) {
  State& s = *state_;
  constexpr const char* kHere = "ActivationAccumulator::refine";
  require(s.magnitudes.has_value(), "{}: nothing was added yet", kHere);
  check_shape(tensor, kHere, "x", {-1, s.sequences.begin()->second.token_max.size(0), s.channel_max.size(0)});
  for (int64_t b = 0; b < tensor.size(0); ++b) {
    require(s.sequences.contains(first_sequence + b), "{}: sequence {} was not added", kHere,
            first_sequence + b);
  }
  const std::vector<int64_t> bins = refinement_bins();
  if (bins.empty() || tensor.size(0) == 0) return;
  refine(key_counts(in_known_dtype(tensor, kHere), bins));
}

std::vector<int64_t> ActivationAccumulator::refinement_bins() {
  State& s = *state_;
  if (!s.refining) {
    s.refined_bins = s.is_exact() ? std::vector<int64_t>{} : s.bins_to_refine();
    s.refining = true;
  }
  return s.refined_bins;
}

void ActivationAccumulator::refine(const std::vector<std::vector<int64_t>>& counts) {
  state_->magnitudes->add_counts(state_->refined_bins, counts);
}

void ActivationAccumulator::save(ByteWriter& out) const {
  const State& s = *state_;
  require(!s.refining, "ActivationAccumulator::save: called after refine()");
  out.put(s.magnitudes.has_value());
  if (!s.magnitudes) return;
  s.magnitudes->save(out);
  out.put(s.sequences.size());
  for (const auto& [number, sequence] : s.sequences) {
    out.put(number);
    out.put(sequence.sums);
    out.put(sequence.token_max);
  }
  out.put(s.channel_max);
  out.put(s.largest);
}

ActivationAccumulator ActivationAccumulator::load(ByteReader& in, ActivationOptions options) {
  ActivationAccumulator accumulator(options);
  State& s = *accumulator.state_;
  if (!in.get<bool>()) return accumulator;
  s.magnitudes = Magnitudes::load(in);
  for (auto count = in.get<size_t>(); count > 0; --count) {
    const auto number = in.get<int64_t>();
    const auto sums = in.get<SequencePartial>();
    s.sequences.emplace(number, Sequence{sums, in.get_tensor()});
  }
  s.channel_max = in.get_tensor();
  s.largest = in.get_vector<ActivationValue>();
  return accumulator;
}

void ActivationAccumulator::merge(const ActivationAccumulator& other) {
  State& s = *state_;
  const State& o = *other.state_;
  constexpr const char* kHere = "ActivationAccumulator::merge";
  if (!o.magnitudes) return;
  require(!s.refining && !o.refining, "{}: called after refine()", kHere);
  if (s.magnitudes) {
    check_shape(o.channel_max, kHere, "channel_max", {s.channel_max.size(0)});
    check_shape(o.sequences.begin()->second.token_max, kHere, "token_max",
                {s.sequences.begin()->second.token_max.size(0)});
    require(s.magnitudes->dtype() == o.magnitudes->dtype(), "{}: one side is {}, the other {}", kHere,
            at::toString(s.magnitudes->dtype()), at::toString(o.magnitudes->dtype()));
  }
  for (const auto& [number, sequence] : o.sequences) {
    require(!s.sequences.contains(number), "{}: sequence {} is on both sides", kHere, number);
  }

  s.channel_max = s.magnitudes ? at::maximum(s.channel_max, o.channel_max) : o.channel_max.clone();
  if (s.magnitudes) {
    s.magnitudes->merge(*o.magnitudes);
  } else {
    s.magnitudes = o.magnitudes;
  }
  s.sequences.insert(o.sequences.begin(), o.sequences.end());
  s.largest.insert(s.largest.end(), o.largest.begin(), o.largest.end());
  s.trim_largest();
}

ActivationSummary ActivationAccumulator::finish() const {
  const State& s = *state_;
  ActivationSummary out;
  if (!s.magnitudes) return out;
  const std::optional<double> median = s.magnitudes->median();
  const std::optional<int64_t> massive_count = median ? s.massive_count(*median) : std::nullopt;
  require(massive_count.has_value(),
          "ActivationAccumulator::finish: every tensor must be shown to refine() once before");
  out.median = *median;
  out.massive_count = *massive_count;

  // In the order of sequence numbers, so that sums do not depend on the order of add() and merge().
  double abs_sum = 0;
  std::array<double, 3> top3{};
  std::array<int64_t, 3> have{};
  std::vector<at::Tensor> token_max;
  for (const auto& [number, sequence] : s.sequences) {
    const SequencePartial& sums = sequence.sums;
    token_max.push_back(sequence.token_max);
    out.nan_count += sums.nan_count;
    out.inf_count += sums.inf_count;
    const int64_t n = sums.moments.count;
    for (int64_t i = 0; i < std::min<int64_t>(n, 3); ++i) {
      top3[static_cast<size_t>(i)] += static_cast<double>(sums.top3[static_cast<size_t>(i)]);
      ++have[static_cast<size_t>(i)];
    }
    if (n == 0) continue;
    out.count += n;
    abs_sum += sums.abs_sum;
    const double variance = sums.moments.m2 / static_cast<double>(n);
    out.kurtosis_pearson +=
        sums.moments.m4 / static_cast<double>(n) / (variance * variance + kKurtosisEpsilon);
  }
  for (size_t i = 0; i < 3; ++i) {
    out.top3_mean.push_back(have[i] > 0 ? top3[i] / static_cast<double>(have[i]) : 0.0);
  }
  if (have[0] > 0) {
    out.mean = abs_sum / static_cast<double>(out.count);
    out.infinity_norm = out.top3_mean.front();
    out.kurtosis_pearson /= static_cast<double>(have[0]);  // sequences that have any finite value
  }

  if (!s.largest.empty()) out.max = std::abs(s.largest.front().value);
  for (const ActivationValue& v : s.largest) {
    if (static_cast<int64_t>(out.top.size()) < s.options.top) out.top.push_back(v);
    if (static_cast<int64_t>(out.massive.size()) < s.options.massive_limit &&
        std::abs(v.value) > s.threshold(out.median)) {
      out.massive.push_back(v);
    }
  }
  out.channel_max = s.channel_max.clone();
  out.token_max = at::stack(token_max);
  const auto [maxima, channels] = out.channel_max.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
  for (int64_t i = 0; i < std::min(s.options.top, maxima.size(0)); ++i) {
    out.top_channels.push_back(
        {channels.const_data_ptr<int64_t>()[i], static_cast<double>(maxima.const_data_ptr<float>()[i])});
  }
  return out;
}

}  // namespace outliers::stats
