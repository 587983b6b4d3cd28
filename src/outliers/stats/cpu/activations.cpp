// Activations in one pass over memory. Rows are taken in blocks that do not depend on the number of threads,
// and sums of blocks are added in their order, so that results do not depend on it either.
#include <numeric>

#include <ATen/Parallel.h>

#include "outliers/stats/cpu/tile.h"

namespace outliers::stats::cpu {
namespace {

constexpr int64_t kBlockElements = 32768;

/// The last dimension without gaps, which the kernels read.
at::Tensor dense_rows(const at::Tensor& x) {
  return x.stride(-1) == 1 || x.size(-1) == 1 ? x : x.contiguous();
}

struct BlockSums {
  Moments moments;
  double abs_sum = 0;
  int64_t zeros = 0, nan_count = 0, inf_count = 0;
};

/// What one thread gathers where the order of adding does not matter.
struct Gathered {
  std::vector<int32_t> channel_bits;
  BinCounter bins;
  KeyList kept;
  Gathered(int64_t channels, int64_t elements)
      : channel_bits(static_cast<size_t>(channels), 0), kept(elements + kLanes) {}
};

template <typename Scalar>
struct View {
  const Scalar* data;
  int64_t T, C, sequence_stride, token_stride;
  explicit View(const at::Tensor& x)
      : data(x.const_data_ptr<Scalar>()),
        T(x.size(1)),
        C(x.size(2)),
        sequence_stride(x.stride(0)),
        token_stride(x.stride(1)) {}
  const Scalar* row(int64_t number) const {
    return data + number / T * sequence_stride + number % T * token_stride;
  }
};

/// The first `limit` values above `above`, from rows whose largest values are known (-1: no finite value). A
/// row that is not among the `limit` first by its largest value, ties by place, has none of them.
template <typename Scalar>
std::vector<ActivationValue> largest_of(const View<Scalar>& x, const std::vector<float>& row_max,
                                        int64_t first_row, int64_t last_row, int64_t limit, double above) {
  std::vector<int64_t> rows;
  for (int64_t r = first_row; r < last_row; ++r) {
    const float max = row_max[static_cast<size_t>(r)];
    if (max >= 0 && static_cast<double>(max) > above) rows.push_back(r);
  }
  const auto by_max = [&](int64_t a, int64_t b) {
    const float left = row_max[static_cast<size_t>(a)], right = row_max[static_cast<size_t>(b)];
    return left != right ? left > right : a < b;
  };
  const auto wanted = rows.begin() + std::min<int64_t>(limit, static_cast<int64_t>(rows.size()));
  std::nth_element(rows.begin(), wanted, rows.end(), by_max);
  std::sort(rows.begin(), wanted, by_max);
  rows.erase(wanted, rows.end());

  std::vector<ActivationValue> heap;  // the one that stands last is in front
  for (int64_t r : rows) {
    const bool full = static_cast<int64_t>(heap.size()) == limit;
    if (full && static_cast<double>(row_max[static_cast<size_t>(r)]) < std::abs(heap.front().value)) break;
    const Scalar* row = x.row(r);
    for (int64_t c = 0; c < x.C; ++c) {
      const double value = static_cast<double>(row[c]), magnitude = std::abs(value);
      if (!(magnitude > above) || magnitude == std::numeric_limits<double>::infinity()) continue;
      const ActivationValue candidate{value, r / x.T, r % x.T, c};
      if (static_cast<int64_t>(heap.size()) == limit) {
        if (!stands_before(candidate, heap.front())) continue;
        std::pop_heap(heap.begin(), heap.end(), stands_before);
        heap.pop_back();
      }
      heap.push_back(candidate);
      std::push_heap(heap.begin(), heap.end(), stands_before);
    }
  }
  std::sort(heap.begin(), heap.end(), stands_before);
  return heap;
}

template <typename Scalar>
ActivationPartial look(const at::Tensor& x, const ActivationQuery& query) {
  constexpr bool kWide = std::is_same_v<Scalar, float>;
  const View<Scalar> view(x);
  const int64_t B = x.size(0), T = view.T, C = view.C;
  const int64_t block_rows = std::clamp<int64_t>(kBlockElements / C, 1, T);
  const int64_t blocks_of_sequence = (T + block_rows - 1) / block_rows, blocks = B * blocks_of_sequence;
  std::vector<BlockSums> sums(static_cast<size_t>(blocks));
  std::vector<float> row_max(static_cast<size_t>(B * T));
  std::vector<std::unique_ptr<Gathered>> gathered(static_cast<size_t>(at::get_num_threads()));
  const uint32_t low = std::max(1U, static_cast<uint32_t>(query.keep.first) << 16);
  const uint32_t high = (static_cast<uint32_t>(query.keep.last) << 16) - 1;

  at::parallel_for(0, blocks, 1, [&](int64_t first_block, int64_t last_block) {
    auto& mine = gathered[static_cast<size_t>(at::get_thread_num())];
    if (!mine) mine = std::make_unique<Gathered>(C, x.numel());
    Gathered& g = *mine;
    Tile<Scalar> tile(C, &g.bins);
    for (int64_t block = first_block; block < last_block; ++block) {
      BlockSums& s = sums[static_cast<size_t>(block)];
      const int64_t first = block / blocks_of_sequence * T + block % blocks_of_sequence * block_rows;
      const int64_t last = std::min(first + block_rows, (block / blocks_of_sequence + 1) * T);
      for (int64_t row = first; row < last; row += kTileRows) {
        tile.clear();
        for (int64_t r = row; r < std::min(row + kTileRows, last); ++r) tile.add(view.row(r));
        s.moments.add(tile.moments());
        add_columns(tile.filled(), tile.count(), C, g.channel_bits.data(), nullptr);
        for (int64_t r = 0; r < tile.count(); ++r) {
          const RowSums& here = tile.sums(r);
          s.abs_sum += here.abs_sum;
          s.zeros += here.zeros;
          row_max[static_cast<size_t>(row + r)] =
              tile.finite_count(r) > 0 ? std::bit_cast<float>(here.max_bits) : -1.0F;
          if (tile.finite_count(r) < C) {
            const float* values = tile.values(r);
            for (int64_t c = 0; c < C; ++c) {
              s.nan_count += std::isnan(values[c]);
              s.inf_count += std::isinf(values[c]);
            }
          }
          if (kWide && !query.keep.empty()) keep_keys(tile.values(r), C, low, high, g.kept);
        }
      }
    }
  });

  ActivationPartial partial;
  partial.histogram.resize(static_cast<size_t>(kBins), 0);
  std::vector<int32_t> channel_bits(static_cast<size_t>(C), 0);
  for (const auto& g : gathered) {
    if (!g) continue;
    for (size_t c = 0; c < channel_bits.size(); ++c) {
      channel_bits[c] = std::max(channel_bits[c], g->channel_bits[c]);
    }
    g->bins.add_to(partial.histogram, infinity_bin(x.scalar_type()));
    for (const at::Tensor& part : g->kept.parts()) partial.kept.push_back(part);
  }
  partial.channel_max = at::empty({C}, at::kFloat);
  std::memcpy(partial.channel_max.data_ptr<float>(), channel_bits.data(),
              channel_bits.size() * sizeof(float));
  partial.token_max = at::empty({B, T}, at::kFloat);
  std::transform(row_max.begin(), row_max.end(), partial.token_max.data_ptr<float>(),
                 [](float max) { return std::max(max, 0.0F); });

  for (int64_t b = 0; b < B; ++b) {
    SequencePartial sequence;
    for (int64_t block = b * blocks_of_sequence; block < (b + 1) * blocks_of_sequence; ++block) {
      const BlockSums& s = sums[static_cast<size_t>(block)];
      sequence.moments.add(s.moments);
      sequence.abs_sum += s.abs_sum;
      sequence.nan_count += s.nan_count;
      sequence.inf_count += s.inf_count;
      partial.zero_count += s.zeros;
    }
    const std::vector<ActivationValue> top3 = largest_of(view, row_max, b * T, (b + 1) * T, 3, -1.0);
    for (size_t i = 0; i < top3.size(); ++i) sequence.top3[i] = static_cast<float>(std::abs(top3[i].value));
    partial.sequences.push_back(sequence);
  }
  partial.largest = largest_of(view, row_max, 0, B * T, query.limit, query.above);
  if (static_cast<int64_t>(partial.largest.size()) < query.top) {
    partial.largest = largest_of(view, row_max, 0, B * T, query.top, -1.0);
  }
  return partial;
}

}  // namespace

ActivationPartial activation_partial(const at::Tensor& tensor, const ActivationQuery& query) {
  const at::Tensor x = dense_rows(tensor);
  switch (x.scalar_type()) {
    case at::kFloat:
      return look<float>(x, query);
    case at::kHalf:
      return look<at::Half>(x, query);
    default:
      return look<at::BFloat16>(x, query);
  }
}

std::vector<std::vector<int64_t>> key_counts(const at::Tensor& tensor, const std::vector<int64_t>& bins) {
  const at::Tensor x = tensor.contiguous();
  std::vector<int32_t> place(static_cast<size_t>(kBins), -1);  // bin -> its place in `bins`
  for (size_t i = 0; i < bins.size(); ++i) place[static_cast<size_t>(bins[i])] = static_cast<int32_t>(i);
  std::vector<std::vector<int64_t>> counts(bins.size(),
                                           std::vector<int64_t>(static_cast<size_t>(kKeysPerBin)));
  std::vector<std::vector<uint32_t>> found(static_cast<size_t>(at::get_num_threads()));
  const float* values = x.const_data_ptr<float>();
  // Slices that fit a cache: each thread picks the keys of the bins, then they are counted.
  const int64_t slice = int64_t{1} << 22;
  for (int64_t begin = 0; begin < x.numel(); begin += slice) {
    const int64_t end = std::min(begin + slice, x.numel());
    at::parallel_for(begin, end, kBlockElements, [&](int64_t first, int64_t last) {
      std::vector<uint32_t>& mine = found[static_cast<size_t>(at::get_thread_num())];
      for (int64_t i = first; i < last; ++i) {
        const uint32_t key = std::bit_cast<uint32_t>(values[i]) & static_cast<uint32_t>(kMagnitude);
        if (place[key >> 16] >= 0) mine.push_back(key);
      }
    });
    for (std::vector<uint32_t>& keys : found) {
      for (uint32_t key : keys) ++counts[static_cast<size_t>(place[key >> 16])][key & 0xFFFF];
      keys.clear();
    }
  }
  return counts;
}

}  // namespace outliers::stats::cpu
