#include "outliers/stats/activations.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <map>
#include <optional>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/core/shape.h"
#include "outliers/stats/partial.h"

namespace outliers::stats {
namespace {

constexpr int64_t kSample = 16384;
constexpr double kKurtosisEpsilon = 1e-6;  // Bondarenko et al. 2306.12929
constexpr double kBracketHalf = 0.03;      // of the sample's ranks: about seven standard errors of its median

bool is_float(const at::Tensor& x) {
  return at::isFloatingType(x.scalar_type());
}

}  // namespace

void Moments::add(const Moments& o) {
  count += o.count;
  sum += o.sum;
  square += o.square;
  cube += o.cube;
  fourth += o.fourth;
  abs_sum += o.abs_sum;
}

double Moments::mean_offset() const {
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

double Moments::variance() const {
  if (count == 0) return 0;
  const double m = mean_offset();
  return std::max(0.0, square / static_cast<double>(count) - m * m);
}

double Moments::fourth_central() const {
  if (count == 0) return 0;
  const double n = static_cast<double>(count), m = mean_offset();
  return std::max(0.0, fourth / n - 4 * m * cube / n + 6 * m * m * square / n - 3 * m * m * m * m);
}

void Ranks::add(Ranks&& o) {
  below += o.below;
  if (inside.empty())
    inside = std::move(o.inside);
  else
    inside.insert(inside.end(), o.inside.begin(), o.inside.end());
  candidates.insert(candidates.end(), o.candidates.begin(), o.candidates.end());
}

bool stands_before(const ActivationValue& a, const ActivationValue& b) {
  const double left = std::abs(a.value), right = std::abs(b.value);
  if (left != right) return left > right;
  if (a.sequence != b.sequence) return a.sequence < b.sequence;
  if (a.token != b.token) return a.token < b.token;
  return a.channel < b.channel;
}

bool holds_median(const Ranks& ranks, int64_t n) {
  if (n == 0) return true;
  const MiddleRanks middle = middle_ranks(n);
  return middle.low >= ranks.below && middle.high < ranks.below + static_cast<int64_t>(ranks.inside.size());
}

double median_of(Ranks& ranks, int64_t n) {
  if (n == 0) return 0;
  const MiddleRanks middle = middle_ranks(n);
  const auto low = ranks.inside.begin() + (middle.low - ranks.below);
  std::nth_element(ranks.inside.begin(), low, ranks.inside.end());
  if (middle.low == middle.high) return *low;
  return (static_cast<double>(*low) + static_cast<double>(*std::min_element(low + 1, ranks.inside.end()))) /
         2;
}

std::vector<float> sample(const at::Tensor& x) {
  at::Tensor flat;
  if (x.numel() <= kSample) {
    flat = x.reshape({-1});
  } else {
    // Distances prime to every usual width, so that the sample does not stay in a few channels.
    const at::Tensor index = at::arange(kSample, x.options().dtype(at::kLong)) * (x.numel() / kSample) +
                             at::arange(kSample, x.options().dtype(at::kLong)) % (x.numel() / kSample);
    const at::Tensor c = index % x.size(2), t = index.div(x.size(2), "floor") % x.size(1),
                     b = index.div(x.size(2) * x.size(1), "floor");
    flat = x.index({b, t, c});
  }
  const at::Tensor host = flat.to(at::kCPU, at::kFloat).abs().contiguous();
  std::vector<float> values(host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel());
  std::erase_if(values, [](float v) { return !std::isfinite(v); });
  std::sort(values.begin(), values.end());
  return values;
}

Bracket guess_bracket(const std::vector<float>& sorted, int64_t elements) {
  Bracket bracket;
  if (elements <= kSample || sorted.empty()) return bracket;
  const auto rank = [&](double share) {
    return sorted[static_cast<size_t>(share * static_cast<double>(sorted.size() - 1))];
  };
  bracket.low = rank(0.5 - kBracketHalf);
  bracket.high = rank(0.5 + kBracketHalf);
  return bracket;
}

std::vector<double> shifts(const at::Tensor& x) {
  const at::Tensor row = x.select(1, x.size(1) / 2).to(at::kCPU, at::kDouble);
  const at::Tensor middle =
      std::get<0>(row.masked_fill(row.isfinite().logical_not(), 0).median(1)).contiguous();
  return {middle.const_data_ptr<double>(), middle.const_data_ptr<double>() + middle.numel()};
}

ActivationPartial activation_partial(const at::Tensor& x, const Bracket& bracket,
                                     const std::vector<double>& shift, int64_t top) {
  return x.is_cpu() ? cpu::activation_partial(x, bracket, shift, top)
                    : aten::activation_partial(x, bracket, shift, top);
}

Ranks ranks_of(const at::Tensor& x, const Bracket& bracket) {
  return x.is_cpu() ? cpu::ranks_of(x, bracket) : aten::ranks_of(x, bracket);
}

struct ActivationAccumulator::State {
  struct Sequence {
    Moments moments;
    double top3[3];
    at::Tensor token_max;  // [T]
  };

  explicit State(ActivationOptions o) : options(o) {}

  ActivationOptions options;
  std::optional<Bracket> bracket;  // fixed by the first tensor
  bool refining = false;
  bool mixed = false;  // merged from two brackets: the ranks are void
  std::map<int64_t, Sequence> sequences;
  Ranks ranks;
  std::vector<ActivationValue> top;
  at::Tensor channel_max;
  int64_t nan_count = 0, inf_count = 0;

  int64_t count() const {
    int64_t n = 0;
    for (const auto& [number, s] : sequences) n += s.moments.count;
    return n;
  }

  // Anything that can be massive once the median is known: it is at least the bracket's low end.
  float candidates_above(float low) const {
    return static_cast<float>(
        std::max(options.massive_above, options.massive_ratio * static_cast<double>(low)));
  }

  void keep_top() {
    std::sort(top.begin(), top.end(), stands_before);
    if (top.size() > static_cast<size_t>(options.top)) top.resize(static_cast<size_t>(options.top));
  }

  void take_ranks(Ranks&& more, int64_t first_sequence) {
    for (ActivationValue& v : more.candidates) v.sequence += first_sequence;
    ranks.add(std::move(more));
  }

  // A bracket that cannot miss, from what the first look left known.
  Bracket sure_bracket() const {
    Bracket sure;
    const int64_t n = count();
    if (bracket && n > 0 && !mixed) {
      const MiddleRanks middle = middle_ranks(n);
      const int64_t above = ranks.below + static_cast<int64_t>(ranks.inside.size());
      if (middle.high < ranks.below)
        sure.high = bracket->low;
      else if (middle.low >= above)
        sure.low = bracket->high;
    }
    return sure;
  }
};

ActivationAccumulator::ActivationAccumulator(ActivationOptions options)
    : state_(std::make_unique<State>(options)) {}
ActivationAccumulator::~ActivationAccumulator() = default;
ActivationAccumulator::ActivationAccumulator(ActivationAccumulator&&) noexcept = default;
ActivationAccumulator& ActivationAccumulator::operator=(ActivationAccumulator&&) noexcept = default;

void ActivationAccumulator::add(const at::Tensor& x, int64_t first_sequence) {
  State& s = *state_;
  check_shape(x, "ActivationAccumulator::add", "x",
              {-1, -1, s.channel_max.defined() ? s.channel_max.size(0) : -1});
  require(is_float(x), "ActivationAccumulator::add: x is {}, wanted a float dtype",
          at::toString(x.scalar_type()));
  assert(!s.refining);
  if (x.numel() == 0) return;
  if (!s.bracket) {
    const std::vector<float> sorted = sample(x);
    s.bracket = guess_bracket(sorted, x.numel());
    s.bracket->candidates_above = s.candidates_above(s.bracket->low);
  }
  ActivationPartial partial = activation_partial(x, *s.bracket, shifts(x), s.options.top);
  for (int64_t b = 0; b < x.size(0); ++b) {
    const auto i = static_cast<size_t>(b);
    State::Sequence sequence{partial.sequences[i],
                             {partial.top3[3 * i], partial.top3[3 * i + 1], partial.top3[3 * i + 2]},
                             partial.token_max[b]};
    require(s.sequences.emplace(first_sequence + b, std::move(sequence)).second,
            "ActivationAccumulator::add: sequence {} was added before", first_sequence + b);
  }
  for (ActivationValue& v : partial.top) {
    v.sequence += first_sequence;
    s.top.push_back(v);
  }
  s.keep_top();
  s.take_ranks(std::move(partial.ranks), first_sequence);
  s.channel_max =
      s.channel_max.defined() ? at::maximum(s.channel_max, partial.channel_max) : partial.channel_max;
  s.nan_count += partial.nan_count;
  s.inf_count += partial.inf_count;
}

bool ActivationAccumulator::needs_refinement() const {
  return state_->mixed || !holds_median(state_->ranks, state_->count());
}

void ActivationAccumulator::refine(const at::Tensor& x, int64_t first_sequence) {
  State& s = *state_;
  if (!s.refining) {
    s.bracket = s.sure_bracket();
    s.bracket->candidates_above = s.candidates_above(s.bracket->low);
    s.ranks = Ranks{};
    s.refining = true;
    s.mixed = false;
  }
  s.take_ranks(ranks_of(x, *s.bracket), first_sequence);
}

void ActivationAccumulator::merge(const ActivationAccumulator& other) {
  State& s = *state_;
  const State& o = *other.state_;
  if (o.sequences.empty()) return;
  const bool first = s.sequences.empty();
  const bool same_bracket = first || (s.bracket->low == o.bracket->low && s.bracket->high == o.bracket->high);
  if (first) {
    s.bracket = o.bracket;
  }
  for (const auto& [number, sequence] : o.sequences) {
    require(s.sequences.emplace(number, sequence).second,
            "ActivationAccumulator::merge: sequence {} is in both", number);
  }
  s.top.insert(s.top.end(), o.top.begin(), o.top.end());
  s.keep_top();
  s.channel_max = s.channel_max.defined() ? at::maximum(s.channel_max, o.channel_max) : o.channel_max.clone();
  s.nan_count += o.nan_count;
  s.inf_count += o.inf_count;
  if (same_bracket && !s.mixed && !o.mixed) {
    s.ranks.add(Ranks(o.ranks));
    return;
  }
  // Two brackets: the ranks of one side say nothing of the other's, so all tensors are looked at again.
  s.mixed = true;
  s.refining = false;
}

ActivationSummary ActivationAccumulator::finish() const {
  const State& s = *state_;
  require(!needs_refinement(), "ActivationAccumulator::finish: the tensors must be shown to refine() first");
  ActivationSummary out;
  out.nan_count = s.nan_count;
  out.inf_count = s.inf_count;
  out.count = s.count();
  if (s.sequences.empty()) return out;
  double abs_sum = 0;
  out.top3_mean.assign(3, 0.0);
  std::vector<at::Tensor> rows;
  const double sequences = static_cast<double>(s.sequences.size());
  for (const auto& [number, sequence] : s.sequences) {
    const double variance = sequence.moments.variance();
    abs_sum += sequence.moments.abs_sum;
    out.kurtosis_pearson +=
        sequence.moments.fourth_central() / (variance * variance + kKurtosisEpsilon) / sequences;
    out.infinity_norm += sequence.top3[0] / sequences;
    for (size_t i = 0; i < 3; ++i) out.top3_mean[i] += sequence.top3[i] / sequences;
    rows.push_back(sequence.token_max);
  }
  out.mean = out.count == 0 ? 0 : abs_sum / static_cast<double>(out.count);
  Ranks ranks = s.ranks;
  out.median = median_of(ranks, out.count);
  out.top = s.top;
  out.max = out.top.empty() ? 0 : std::abs(out.top.front().value);
  out.channel_max = s.channel_max;
  out.token_max = at::stack(rows);
  const at::Tensor order = std::get<1>(out.channel_max.sort(/*stable=*/true, -1, /*descending=*/true));
  for (int64_t i = 0; i < std::min(s.options.top, order.numel()); ++i) {
    const int64_t channel = order[i].item<int64_t>();
    out.top_channels.push_back({channel, out.channel_max[channel].item<double>()});
  }
  const double threshold = std::max(s.options.massive_above, s.options.massive_ratio * out.median);
  for (const ActivationValue& v : s.ranks.candidates) {
    if (std::abs(v.value) > threshold) out.massive.push_back(v);
  }
  out.massive_count = static_cast<int64_t>(out.massive.size());
  std::sort(out.massive.begin(), out.massive.end(), stands_before);
  if (out.massive_count > s.options.massive_limit)
    out.massive.resize(static_cast<size_t>(s.options.massive_limit));
  return out;
}

}  // namespace outliers::stats
