// One matrix in one pass over memory, its exact median included: a sample gives two keys with the median
// almost surely between them, keys below are counted, keys between are kept, and the median is picked among
// those.
#include <optional>

#include <ATen/Parallel.h>

#include "outliers/stats/cpu/tile.h"
#include "outliers/stats/magnitudes.h"

namespace outliers::stats::cpu {
namespace {

constexpr int64_t kGroups = 16;  // parts of the rows with column sums of their own, whatever the threads
constexpr int64_t kBlockRows = 16 * kTileRows;  // of a transposed matrix, copied at a time
constexpr double kGuessErrors = 4;  // misses one matrix in 16,000, which then costs two more passes

struct Group {
  std::vector<int32_t> column_bits;
  std::vector<double> column_sums;
  std::vector<int64_t> column_lost;  // not finite; empty where all are
  Moments moments;
  int64_t below = 0;
  KeyList kept;
};

/// Keys low..high around the median; below low everything is counted only.
struct Bracket {
  uint32_t low = 1, high = 0;
  bool from_zero = false;  // low is 1 in place of 0: what is below is zero, and may be the median
};

Bracket guess(const at::Tensor& w) {
  Bracket bracket;
  const std::optional<MedianGuess> guess = guess_median(w, kGuessErrors);
  if (!guess) return bracket;
  bracket.low = std::max(1U, std::bit_cast<uint32_t>(guess->low));
  bracket.high = std::bit_cast<uint32_t>(guess->high);
  bracket.from_zero = guess->low == 0;
  return bracket;
}

std::optional<double> median_of(const std::vector<Group>& groups, const Bracket& bracket, int64_t count) {
  int64_t below = 0;
  std::vector<at::Tensor> kept;
  for (const Group& g : groups) {
    below += g.below;
    for (const at::Tensor& part : g.kept.parts()) kept.push_back(part);
  }
  const int64_t inside = count_keys(kept);
  constexpr double kOutside = -1;  // no magnitude
  const auto value_at = [&](int64_t rank) {
    if (rank < below) return bracket.from_zero ? 0 : kOutside;
    if (rank - below >= inside) return kOutside;
    return magnitude_of_key(key_at_rank(kept, rank - below), at::kFloat);
  };
  const double low = value_at((count - 1) / 2);
  const double high = count % 2 == 1 ? low : value_at(count / 2);
  if (low == kOutside || high == kOutside) return std::nullopt;
  return (low + high) / 2;
}

/// Rows [first, last) with their columns side by side. Of a transposed matrix that takes a copy, so few rows
/// are asked for at a time: a second matrix may be more than there is memory.
at::Tensor dense_rows(const at::Tensor& w, int64_t first, int64_t last) {
  const at::Tensor rows = w.narrow(0, first, last - first);
  return w.stride(1) == 1 || w.size(1) == 1 ? rows : rows.contiguous();
}

/// By a histogram, and for float32 a second pass over the bins of the middle values.
template <typename Scalar>
double counted_median(const at::Tensor& w) {
  constexpr bool kWide = std::is_same_v<Scalar, float>;
  ActivationPartial partial;
  partial.histogram.resize(static_cast<size_t>(kBins), 0);
  std::vector<std::unique_ptr<BinCounter>> counters(static_cast<size_t>(at::get_num_threads()));
  at::parallel_for(0, w.size(0), std::max<int64_t>(1, 32768 / w.size(1)), [&](int64_t first, int64_t last) {
    auto& mine = counters[static_cast<size_t>(at::get_thread_num())];
    if (!mine) mine = std::make_unique<BinCounter>();
    for (int64_t begin = first; begin < last; begin += kBlockRows) {
      const at::Tensor rows = dense_rows(w, begin, std::min(begin + kBlockRows, last));
      for (int64_t r = 0; r < rows.size(0); ++r) {
        const Scalar* row = rows.const_data_ptr<Scalar>() + r * rows.stride(0);
        if constexpr (kWide) {
          mine->count(row, w.size(1));
        } else {
          mine->count(reinterpret_cast<const uint16_t*>(row), w.size(1));
        }
      }
    }
  });
  for (const auto& counter : counters) {
    if (counter) counter->add_to(partial.histogram, infinity_bin(w.scalar_type()));
  }
  Magnitudes magnitudes(w.scalar_type());
  magnitudes.add(partial);
  if (const std::optional<double> median = magnitudes.median()) return *median;
  const std::vector<int64_t> bins = magnitudes.median_bins();
  const int64_t step = w.is_contiguous() ? w.size(0) : kBlockRows;
  for (int64_t first = 0; first < w.size(0); first += step) {
    magnitudes.add_counts(bins, key_counts(dense_rows(w, first, std::min(first + step, w.size(0))), bins));
  }
  return *magnitudes.median();
}

template <typename Scalar>
WeightPartial look(const at::Tensor& w) {
  constexpr bool kWide = std::is_same_v<Scalar, float>;
  const int64_t R = w.size(0), C = w.size(1);
  WeightPartial partial;
  partial.rows.max.resize(static_cast<size_t>(R));
  partial.rows.abs_sum.resize(static_cast<size_t>(R));
  partial.rows.count.resize(static_cast<size_t>(R));
  const Bracket bracket = kWide ? guess(w) : Bracket{};
  std::vector<Group> groups(static_cast<size_t>(std::min(kGroups, R)));
  const auto group_count = static_cast<int64_t>(groups.size());

  at::parallel_for(0, group_count, 1, [&](int64_t first_group, int64_t last_group) {
    Tile<Scalar> tile(C);
    for (int64_t number = first_group; number < last_group; ++number) {
      Group& g = groups[static_cast<size_t>(number)];
      const int64_t first = R * number / group_count, last = R * (number + 1) / group_count;
      g.kept = KeyList((last - first) * C / 16 + C + kLanes);
      g.column_bits.resize(static_cast<size_t>(C), 0);
      g.column_sums.resize(static_cast<size_t>(C), 0.0);
      at::Tensor block;
      for (int64_t row = first; row < last; row += kTileRows) {
        if ((row - first) % kBlockRows == 0) block = dense_rows(w, row, std::min(row + kBlockRows, last));
        const int64_t in_block = (row - first) % kBlockRows;
        tile.clear();
        for (int64_t r = in_block; r < std::min(in_block + kTileRows, block.size(0)); ++r) {
          tile.add(block.const_data_ptr<Scalar>() + r * block.stride(0));
        }
        g.moments.add(tile.moments());
        add_columns(tile.filled(), tile.count(), C, g.column_bits.data(), g.column_sums.data());
        for (int64_t r = 0; r < tile.count(); ++r) {
          const auto line = static_cast<size_t>(row + r);
          partial.rows.max[line] = std::bit_cast<float>(tile.sums(r).max_bits);
          partial.rows.abs_sum[line] = tile.sums(r).abs_sum;
          partial.rows.count[line] = tile.finite_count(r);
          if (kWide) g.below += keep_keys(tile.values(r), C, bracket.low, bracket.high, g.kept);
          if (tile.finite_count(r) == C) continue;
          g.column_lost.resize(static_cast<size_t>(C), 0);
          for (int64_t c = 0; c < C; ++c)
            g.column_lost[static_cast<size_t>(c)] += !std::isfinite(tile.values(r)[c]);
        }
      }
    }
  });

  std::vector<int32_t> column_bits(static_cast<size_t>(C), 0);
  partial.columns.abs_sum.resize(static_cast<size_t>(C), 0.0);
  partial.columns.count.resize(static_cast<size_t>(C), R);
  for (const Group& g : groups) {
    partial.moments.add(g.moments);
    for (size_t c = 0; c < column_bits.size(); ++c) {
      column_bits[c] = std::max(column_bits[c], g.column_bits[c]);
      partial.columns.abs_sum[c] += g.column_sums[c];
    }
    for (size_t c = 0; c < g.column_lost.size(); ++c) partial.columns.count[c] -= g.column_lost[c];
  }
  for (int32_t bits : column_bits) partial.columns.max.push_back(std::bit_cast<float>(bits));
  partial.nonfinite = w.numel() - partial.moments.count;
  if (partial.moments.count == 0) return partial;
  std::optional<double> median;
  if (kWide) median = median_of(groups, bracket, partial.moments.count);
  partial.median = median ? *median : counted_median<Scalar>(w);
  return partial;
}

}  // namespace

WeightPartial weight_partial(const at::Tensor& w) {
  switch (w.scalar_type()) {
    case at::kFloat:
      return look<float>(w);
    case at::kHalf:
      return look<at::Half>(w);
    default:
      return look<at::BFloat16>(w);
  }
}

}  // namespace outliers::stats::cpu
