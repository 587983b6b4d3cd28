// One pass over a tensor on the CPU. Rows are taken in fixed blocks, each with its own sums, so that the
// result does not depend on the number of threads. abs x is compared as bits: for non-negative floats the
// order is the same, NaN and infinity stand above all, and integer maxima can be formed in vector lanes.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/vec/functional.h>

#include "outliers/stats/partial.h"

namespace outliers::stats::cpu {
namespace {

constexpr int64_t kBlockRows = 32;
constexpr int32_t kInfinityBits = 0x7F800000, kMagnitude = 0x7FFFFFFF;
constexpr size_t kTop3 = 3;

float magnitude(float x) {
  return std::abs(x);
}

// What one thread gathers besides the sums of its blocks.
struct Gathered {
  std::vector<int32_t> channel_bits;
  std::vector<double> column_abs_sum;
  std::vector<int64_t> column_count;  // of non-finite values, per column
  std::vector<ActivationValue> top;
  Ranks ranks;
  int64_t nan_count = 0, inf_count = 0;
  bool nonfinite() const { return nan_count + inf_count > 0; }
};

// Keeps the `limit` first of `list` by stands_before.
void keep_first(std::vector<ActivationValue>& list, size_t limit) {
  if (list.size() <= limit) return;
  std::nth_element(list.begin(), list.begin() + static_cast<int64_t>(limit), list.end(), stands_before);
  list.resize(limit);
}

int32_t row_bits(const float* row, int64_t n, int32_t* channel_bits) {
  int32_t top = 0;
#pragma omp simd reduction(max : top)
  for (int64_t j = 0; j < n; ++j) {
    const int32_t bits = std::bit_cast<int32_t>(row[j]) & kMagnitude;
    channel_bits[j] = std::max(channel_bits[j], bits);
    top = std::max(top, bits);
  }
  return top;
}

void add_moments(const float* row, int64_t n, double shift, Moments& m) {
  double sum = 0, square = 0, cube = 0, fourth = 0, abs_sum = 0;
#pragma omp simd reduction(+ : sum, square, cube, fourth, abs_sum)
  for (int64_t j = 0; j < n; ++j) {
    const double x = row[j], d = x - shift, d2 = d * d;
    sum += d;
    square += d2;
    cube += d2 * d;
    fourth += d2 * d2;
    abs_sum += std::abs(x);
  }
  m.count += n;
  m.sum += sum;
  m.square += square;
  m.cube += cube;
  m.fourth += fourth;
  m.abs_sum += abs_sum;
}

// Branch-free: the place to write moves on only where the value belongs.
void add_ranks(const float* row, int64_t n, const Bracket& bracket, Ranks& ranks) {
  const size_t before = ranks.inside.size();
  if (ranks.inside.capacity() < before + static_cast<size_t>(n))
    ranks.inside.reserve(std::max(2 * before, before + static_cast<size_t>(n)));
  ranks.inside.resize(before + static_cast<size_t>(n));
  float* out = ranks.inside.data() + before;
  int64_t below = 0;
#pragma omp simd reduction(+ : below)
  for (int64_t j = 0; j < n; ++j) below += magnitude(row[j]) < bracket.low ? 1 : 0;
  size_t kept = 0;
  for (int64_t j = 0; j < n; ++j) {
    const float a = magnitude(row[j]);
    out[kept] = a;
    kept += static_cast<size_t>(a >= bracket.low && a <= bracket.high);
  }
  ranks.inside.resize(before + kept);
  ranks.below += below;
}

struct Work {
  const at::Tensor* x;  // [B,T,C], last dimension contiguous
  Bracket bracket;
  const std::vector<double>* shift;  // [B]
  size_t top;
  bool columns, moments;
};

// What a block of rows adds up to, and what one row says of itself.
struct Block {
  Moments moments;
  std::vector<float> top3;
};
struct Row {
  float max = 0;
  double abs_sum = 0;
  int64_t count = 0;
};

// Everything of one row. `clean` is a buffer for a row without its non-finite values.
Row take_row(const Work& work, const float* row, int64_t channels, int64_t sequence, int64_t token,
             std::vector<float>& clean, Gathered& g, Block& block) {
  Moments& m = block.moments;
  std::vector<float>& top3 = block.top3;
  Row result;
  const float* values = row;
  int64_t n = channels;
  const int32_t seen = work.moments ? row_bits(row, channels, g.channel_bits.data()) : kInfinityBits;
  float largest = std::bit_cast<float>(seen);
  if (seen >= kInfinityBits) {
    // Leave the non-finite values out of a copy.
    clean.clear();
    largest = 0;
    for (int64_t j = 0; j < channels; ++j) {
      if (std::isfinite(row[j])) {
        clean.push_back(row[j]);
        largest = std::max(largest, magnitude(row[j]));
      } else if (work.moments) {
        ++(std::isnan(row[j]) ? g.nan_count : g.inf_count);
        if (work.columns) {
          if (g.column_count.empty()) g.column_count.assign(static_cast<size_t>(channels), 0);
          ++g.column_count[static_cast<size_t>(j)];
        }
      }
    }
    values = clean.data();
    n = static_cast<int64_t>(clean.size());
  }
  result.max = largest;
  add_ranks(values, n, work.bracket, g.ranks);
  if (work.moments) {
    Moments here;
    add_moments(values, n, (*work.shift)[static_cast<size_t>(sequence)], here);
    m.add(here);
    result.abs_sum = here.abs_sum;
    result.count = here.count;
  }
  if (work.columns) {
    double* sums = g.column_abs_sum.data();
    if (n == channels) {
      for (int64_t j = 0; j < channels; ++j) sums[j] += magnitude(row[j]);
    } else {
      for (int64_t j = 0; j < channels; ++j) sums[j] += std::isfinite(row[j]) ? magnitude(row[j]) : 0;
    }
  }
  const auto each_finite = [&](auto&& action) {
    for (int64_t j = 0; j < channels; ++j) {
      if (std::isfinite(row[j])) action(j, magnitude(row[j]));
    }
  };
  if (largest > work.bracket.candidates_above) {
    each_finite([&](int64_t j, float a) {
      if (a > work.bracket.candidates_above) g.ranks.candidates.push_back({row[j], sequence, token, j});
    });
  }
  if (!work.moments) return result;
  if (top3.size() < kTop3 || largest > top3.back()) {
    each_finite([&](int64_t, float a) {
      if (top3.size() < kTop3 || a > top3.back()) {
        top3.insert(std::upper_bound(top3.begin(), top3.end(), a, std::greater<>()), a);
        if (top3.size() > kTop3) top3.pop_back();
      }
    });
  }
  if (work.top == 0) return result;
  // Rows come in order, so a later tie never displaces an earlier one.
  if (g.top.size() < work.top || largest > std::abs(g.top.back().value)) {
    each_finite([&](int64_t j, float a) {
      if (g.top.size() < work.top || a > std::abs(g.top.back().value)) {
        const ActivationValue value{row[j], sequence, token, j};
        g.top.insert(std::upper_bound(g.top.begin(), g.top.end(), value, stands_before), value);
        if (g.top.size() > work.top) g.top.pop_back();
      }
    });
  }
  return result;
}

WeightPartial look(const at::Tensor& x, const Bracket& bracket, const std::vector<double>& shift, int64_t top,
                   bool columns, bool moments) {
  const int64_t batch = x.size(0), tokens = x.size(1), channels = x.size(2);
  const at::Tensor rows = x.stride(2) == 1 || channels == 1 ? x : x.contiguous();
  Work work{&rows, bracket, &shift, static_cast<size_t>(top), columns, moments};
  const int64_t blocks_per_sequence = (tokens + kBlockRows - 1) / kBlockRows,
                blocks = batch * blocks_per_sequence;

  WeightPartial result;
  ActivationPartial& all = result.all;
  std::vector<Block> sums(static_cast<size_t>(blocks));
  std::vector<int32_t> channel_bits(static_cast<size_t>(channels), 0);
  if (moments) all.token_max = at::zeros({batch, tokens}, at::kFloat);
  if (columns) {
    result.row_abs_sum.assign(static_cast<size_t>(tokens), 0);
    result.row_count.assign(static_cast<size_t>(tokens), 0);
    result.column_abs_sum.assign(static_cast<size_t>(channels), 0);
    result.column_count.assign(static_cast<size_t>(channels), tokens);
  }
  float* token_max = moments ? all.token_max.data_ptr<float>() : nullptr;
  // Column sums are added in the order of fixed groups of blocks, so that they do not depend on the threads
  // either.
  const int64_t group =
      columns ? std::max<int64_t>(1, (blocks + 15) / 16) : std::max<int64_t>(1, (blocks + 63) / 64);
  const int64_t groups = (blocks + group - 1) / group;
  std::vector<Gathered> parts(static_cast<size_t>(groups));

  at::parallel_for(0, groups, 1, [&](int64_t first_group, int64_t last_group) {
    std::vector<float> converted(static_cast<size_t>(channels)), clean;
    for (int64_t part = first_group; part < last_group; ++part) {
      Gathered& g = parts[static_cast<size_t>(part)];
      g.channel_bits.assign(static_cast<size_t>(channels), 0);
      if (columns) g.column_abs_sum.assign(static_cast<size_t>(channels), 0);
      for (int64_t block = part * group; block < std::min(blocks, (part + 1) * group); ++block) {
        const int64_t sequence = block / blocks_per_sequence,
                      first = block % blocks_per_sequence * kBlockRows;
        for (int64_t token = first; token < std::min(tokens, first + kBlockRows); ++token) {
          const int64_t offset = sequence * rows.stride(0) + token * rows.stride(1);
          const float* row = nullptr;
          if (rows.scalar_type() == at::kFloat) {
            row = rows.const_data_ptr<float>() + offset;
          } else {
            row = converted.data();
            AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, rows.scalar_type(), "stats", [&] {
              const scalar_t* source = rows.const_data_ptr<scalar_t>() + offset;
              for (int64_t j = 0; j < channels; ++j)
                converted[static_cast<size_t>(j)] = static_cast<float>(source[j]);
            });
          }
          const Row taken =
              take_row(work, row, channels, sequence, token, clean, g, sums[static_cast<size_t>(block)]);
          if (moments) token_max[sequence * tokens + token] = taken.max;
          if (columns) {
            result.row_abs_sum[static_cast<size_t>(token)] = taken.abs_sum;
            result.row_count[static_cast<size_t>(token)] = taken.count;
          }
        }
      }
    }
  });

  bool nonfinite = false;
  for (Gathered& g : parts) {
    all.ranks.add(std::move(g.ranks));
    all.nan_count += g.nan_count;
    all.inf_count += g.inf_count;
    nonfinite = nonfinite || g.nonfinite();
    all.top.insert(all.top.end(), g.top.begin(), g.top.end());
    for (size_t j = 0; j < g.channel_bits.size(); ++j)
      channel_bits[j] = std::max(channel_bits[j], g.channel_bits[j]);
    for (size_t j = 0; j < g.column_abs_sum.size(); ++j) result.column_abs_sum[j] += g.column_abs_sum[j];
    for (size_t j = 0; j < g.column_count.size(); ++j) result.column_count[j] -= g.column_count[j];
  }
  if (!moments) return result;
  keep_first(all.top, work.top);
  std::sort(all.top.begin(), all.top.end(), stands_before);
  all.sequences.resize(static_cast<size_t>(batch));
  all.top3.assign(static_cast<size_t>(batch) * kTop3, 0.0);
  for (int64_t sequence = 0; sequence < batch; ++sequence) {
    std::vector<float> largest;
    for (int64_t block = sequence * blocks_per_sequence; block < (sequence + 1) * blocks_per_sequence;
         ++block) {
      const Block& part = sums[static_cast<size_t>(block)];
      all.sequences[static_cast<size_t>(sequence)].add(part.moments);
      largest.insert(largest.end(), part.top3.begin(), part.top3.end());
    }
    std::sort(largest.rbegin(), largest.rend());
    for (size_t i = 0; i < std::min(kTop3, largest.size()); ++i)
      all.top3[static_cast<size_t>(sequence) * kTop3 + i] = largest[i];
  }
  all.channel_max = at::empty({channels}, at::kFloat);
  if (nonfinite) {
    // Bits of infinity hid the channels' finite maxima.
    const at::Tensor finite = x.to(at::kFloat).abs();
    all.channel_max.copy_(finite.masked_fill(finite.isfinite().logical_not(), 0).amax({0, 1}));
  } else {
    std::memcpy(all.channel_max.data_ptr<float>(), channel_bits.data(), channel_bits.size() * sizeof(float));
  }
  return result;
}

}  // namespace

ActivationPartial activation_partial(const at::Tensor& x, const Bracket& bracket,
                                     const std::vector<double>& shift, int64_t top) {
  return look(x, bracket, shift, top, false, true).all;
}

Ranks ranks_of(const at::Tensor& x, const Bracket& bracket) {
  return look(x, bracket, {}, 0, false, false).all.ranks;
}

WeightPartial weight_partial(const at::Tensor& w, const Bracket& bracket, double shift) {
  return look(w.unsqueeze(0), bracket, {shift}, 0, true, true);
}

}  // namespace outliers::stats::cpu
