// The binding: launches the scan, brings its small results to the host in one copy, and from the histogram
// and the maxima decides which few tokens the second launch looks into for the largest values.
#include "outliers/stats/cuda/partial.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "outliers/core/error.h"
#include "outliers/stats/cuda/scan.h"

namespace outliers::stats::cuda {

namespace {

/// Values that a list of the largest may come from. Only tensors of mostly equal values have more.
constexpr int64_t kEntryRoom = int64_t{1} << 17;

void check(cudaError_t error, const char* what) {
  require(error == cudaSuccess, Cause{ErrorKind::device}, "{} on CUDA: {}", what, cudaGetErrorString(error));
}

at::Tensor readable(const at::Tensor& x) {
  return x.stride(-1) == 1 || x.size(-1) == 1 ? x : x.contiguous();
}

/// x [B,T,C] with a contiguous last axis.
Input input_of(const at::Tensor& x) {
  const ElementType type = x.scalar_type() == at::kHalf       ? ElementType::kFloat16
                           : x.scalar_type() == at::kBFloat16 ? ElementType::kBFloat16
                                                              : ElementType::kFloat32;
  return {x.const_data_ptr(), type, x.size(0), x.size(1), x.size(2), x.stride(0), x.stride(1)};
}

/// Counters are 32 bits wide, and places two of 31.
bool fits(const at::Tensor& x) {
  return x.numel() < (int64_t{1} << 32) && x.size(0) * x.size(1) < INT32_MAX && x.size(2) < INT32_MAX;
}

/// Parts of one zeroed buffer on the device, so that one copy brings all results.
class Buffer {
 public:
  template <typename T>
  struct Part {
    int64_t offset = 0, count = 0;
  };
  template <typename T>
  Part<T> add(int64_t count) {
    const Part<T> part{size_, count};
    size_ += (count * static_cast<int64_t>(sizeof(T)) + 15) / 16 * 16;
    return part;
  }
  void allocate(const at::Tensor& like) { device_ = at::zeros({size_}, like.options().dtype(at::kByte)); }
  void fetch() { host_ = device_.to(at::kCPU); }
  template <typename T>
  T* device(Part<T> part) const {
    return part.count > 0 ? reinterpret_cast<T*>(device_.mutable_data_ptr<uint8_t>() + part.offset) : nullptr;
  }
  template <typename T>
  std::vector<T> host(Part<T> part) const {
    const auto* data = reinterpret_cast<const T*>(host_.const_data_ptr<uint8_t>() + part.offset);
    return {data, data + part.count};
  }

 private:
  int64_t size_ = 0;
  at::Tensor device_, host_;
};

/// A scan's results on the host; `buffer` keeps token_max on the device.
struct Scanned {
  Buffer buffer;
  Buffer::Part<uint32_t> token_max_part;
  std::vector<uint32_t> histogram, token_max, channel_max, row_nonfinite, column_nonfinite;
  at::Tensor kept;                            // int32, CPU
  std::vector<double> row_sums, column_sums;  // [T], [C]
  std::vector<SequencePartial> sequences;
  int64_t zero_count = 0;
};

/// Moments about their own mean, of sums of powers of d = x - shift.
Moments moments_of(const UnitSums& s, double shift) {
  Moments m;
  m.count = static_cast<int64_t>(s.count);
  if (m.count == 0) return m;
  const double n = static_cast<double>(m.count), mean = s.power[0] / n, mean2 = mean * mean;
  m.mean = shift + mean;
  m.m2 = std::max(0.0, s.power[1] - n * mean2);
  m.m3 = s.power[2] - 3 * mean * s.power[1] + 2 * n * mean2 * mean;
  m.m4 = std::max(0.0, s.power[3] - 4 * mean * s.power[2] + 6 * mean2 * s.power[1] - 3 * n * mean2 * mean2);
  return m;
}

Scanned scan_tensor(const at::Tensor& x, BinRange keep, int64_t kept_room, bool lines) {
  const Input input = input_of(x);
  int multiprocessors = 0;
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, x.get_device()),
        "statistics");
  const ScanPlan plan = plan_scan(input, multiprocessors);
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(x.get_device()).stream();
  Scanned result;
  Buffer& buffer = result.buffer;
  const auto shift = buffer.add<double>(input.B);
  const auto sums = buffer.add<UnitSums>(plan.units);
  const auto row_partials = buffer.add<double>(lines ? plan.chunks * input.T : 0);
  const auto column_sums = buffer.add<double>(lines ? input.C : 0);
  const auto histogram = buffer.add<uint32_t>(kHistogramBins);
  const auto token_max = buffer.add<uint32_t>(input.B * input.T);
  const auto channel_max = buffer.add<uint32_t>(input.C);
  const auto row_nonfinite = buffer.add<uint32_t>(lines ? input.T : 0);
  const auto column_nonfinite = buffer.add<uint32_t>(lines ? input.C : 0);
  const auto kept_count = buffer.add<uint32_t>(1);
  buffer.allocate(x);
  at::Tensor kept, column_partials;
  ScanOutput output{};
  output.shift = buffer.device(shift);
  output.histogram = buffer.device(histogram);
  output.token_max = buffer.device(token_max);
  output.channel_max = buffer.device(channel_max);
  output.sums = buffer.device(sums);
  output.kept_count = buffer.device(kept_count);
  if (!keep.empty()) {
    kept = at::empty({kept_room}, x.options().dtype(at::kInt));
    output.keep_first = static_cast<uint32_t>(keep.first);
    output.keep_last = static_cast<uint32_t>(keep.last);
    output.kept = reinterpret_cast<uint32_t*>(kept.mutable_data_ptr<int32_t>());
    output.kept_room = static_cast<uint32_t>(kept_room);
  }
  if (lines) {
    column_partials = at::empty({plan.strips, input.C}, x.options().dtype(at::kDouble));
    output.column_partials = column_partials.mutable_data_ptr<double>();
    output.row_partials = buffer.device(row_partials);
    output.row_nonfinite = buffer.device(row_nonfinite);
    output.column_nonfinite = buffer.device(column_nonfinite);
  }
  check(middle_means(input, buffer.device(shift), stream), "statistics");
  check(scan(input, plan, output, stream), "statistics");
  if (lines) {
    check(add_partials(output.column_partials, plan.strips, input.C, buffer.device(column_sums), stream),
          "statistics");
  }
  buffer.fetch();

  result.token_max_part = token_max;
  result.histogram = buffer.host(histogram);
  result.token_max = buffer.host(token_max);
  result.channel_max = buffer.host(channel_max);
  result.row_nonfinite = buffer.host(row_nonfinite);
  result.column_nonfinite = buffer.host(column_nonfinite);
  result.column_sums = buffer.host(column_sums);
  if (lines) {
    const std::vector<double> partials = buffer.host(row_partials);
    result.row_sums.assign(static_cast<size_t>(input.T), 0.0);
    for (size_t i = 0; i < partials.size(); ++i) result.row_sums[i % result.row_sums.size()] += partials[i];
  }
  const std::vector<double> shifts = buffer.host(shift);
  const std::vector<UnitSums> units = buffer.host(sums);
  for (int64_t b = 0; b < input.B; ++b) {
    SequencePartial sequence;
    for (int64_t u = b * plan.strips * plan.chunks; u < (b + 1) * plan.strips * plan.chunks; ++u) {
      const UnitSums& unit = units[static_cast<size_t>(u)];
      sequence.moments.add(moments_of(unit, shifts[static_cast<size_t>(b)]));
      sequence.abs_sum += unit.abs_sum;
      sequence.nan_count += static_cast<int64_t>(unit.nan_count);
      sequence.inf_count += static_cast<int64_t>(unit.inf_count);
      result.zero_count += static_cast<int64_t>(unit.zero_count);
    }
    result.sequences.push_back(sequence);
  }
  if (!keep.empty()) {
    const int64_t count = buffer.host(kept_count)[0];
    if (count > kept_room) return scan_tensor(x, keep, count, lines);  // once more, with room for all
    result.kept = kept.slice(0, 0, count).to(at::kCPU);
  }
  return result;
}

at::Tensor magnitudes(const std::vector<uint32_t>& bits, at::IntArrayRef shape) {
  at::Tensor result = at::empty(shape, at::kFloat);
  std::transform(bits.begin(), bits.end(), result.mutable_data_ptr<float>(),
                 [](uint32_t b) { return std::bit_cast<float>(b); });
  return result;
}

/// Smallest magnitude of a histogram's bin.
float bin_low(int64_t bin, at::ScalarType dtype) {
  const auto key = static_cast<uint32_t>(bin);
  return static_cast<float>(magnitude_of_key(dtype == at::kFloat ? key << 16 : key, dtype));
}

/// A magnitude that everything `largest` must list reaches, and little else.
float listing_bound(const std::vector<uint32_t>& histogram, const ActivationQuery& query,
                    at::ScalarType dtype) {
  int64_t reached = 0;
  float bound = std::numeric_limits<float>::infinity();
  for (int64_t bin = kBins - 1; bin >= 0; --bin) {
    // A bin may hold values above query.above if the next one begins above it.
    const bool listed = bin + 1 == kBins || static_cast<double>(bin_low(bin + 1, dtype)) > query.above;
    if (reached >= query.top && (!listed || reached >= query.limit)) return bound;
    reached += histogram[static_cast<size_t>(bin)];
    bound = bin_low(bin, dtype);
  }
  return bound;
}

}  // namespace

ActivationPartial activation_partial(const at::Tensor& x_in, const ActivationQuery& query) {
  if (!fits(x_in)) return reference::activation_partial(x_in, query);
  const c10::cuda::CUDAGuard guard(x_in.device());
  const at::Tensor x = readable(x_in);
  const int64_t B = x.size(0), T = x.size(1);
  const int64_t kept_room = std::max<int64_t>(std::min<int64_t>(x.numel(), 1 << 16), x.numel() / 8);
  Scanned scanned = scan_tensor(x, query.keep, kept_room, false);

  ActivationPartial partial;
  partial.sequences = std::move(scanned.sequences);
  partial.channel_max = magnitudes(scanned.channel_max, {x.size(2)});
  partial.token_max = magnitudes(scanned.token_max, {B, T});
  partial.histogram.assign(scanned.histogram.begin(), scanned.histogram.end());
  partial.zero_count = scanned.zero_count;
  if (scanned.kept.defined()) partial.kept.push_back(scanned.kept);

  // The three largest values of a sequence are at least the third largest maximum of its tokens.
  const float listed = listing_bound(scanned.histogram, query, x.scalar_type());
  std::vector<float> bounds;
  for (int64_t b = 0; b < B; ++b) {
    const auto* maxima = partial.token_max.const_data_ptr<float>() + b * T;
    std::vector<float> sorted(maxima, maxima + T);
    const auto third = static_cast<int64_t>(std::tuple_size_v<decltype(SequencePartial::top3)>) - 1;
    float bound = 0;
    if (T > third) {
      std::nth_element(sorted.begin(), sorted.begin() + third, sorted.end(), std::greater<>());
      bound = sorted[static_cast<size_t>(third)];
    }
    bounds.push_back(std::min(bound, listed));
  }
  const int64_t room = std::min(x.numel(), kEntryRoom);
  const at::Tensor thresholds = at::tensor(bounds, at::kFloat).to(x.device());
  const at::Tensor count = at::zeros({1}, x.options().dtype(at::kInt));
  const at::Tensor entries =
      at::empty({room * static_cast<int64_t>(sizeof(Entry))}, x.options().dtype(at::kByte));
  check(gather_above(
            input_of(x), scanned.buffer.device(scanned.token_max_part), thresholds.const_data_ptr<float>(),
            reinterpret_cast<Entry*>(entries.mutable_data_ptr<uint8_t>()), static_cast<uint32_t>(room),
            reinterpret_cast<uint32_t*>(count.mutable_data_ptr<int32_t>()),
            c10::cuda::getCurrentCUDAStream(x.get_device()).stream()),
        "largest values");
  const int64_t found = static_cast<uint32_t>(count.item<int32_t>());
  if (found > room) return reference::activation_partial(x_in, query);
  const at::Tensor host = entries.slice(0, 0, found * static_cast<int64_t>(sizeof(Entry))).to(at::kCPU);
  const auto* first = reinterpret_cast<const Entry*>(host.const_data_ptr<uint8_t>());

  std::vector<ActivationValue> values;
  for (const Entry& entry : std::span(first, static_cast<size_t>(found))) {
    values.push_back({static_cast<double>(entry.value), entry.row / T, entry.row % T, entry.column});
  }
  std::sort(values.begin(), values.end(), stands_before);
  std::vector<size_t> filled(static_cast<size_t>(B), 0);
  for (const ActivationValue& value : values) {
    const auto b = static_cast<size_t>(value.sequence);
    if (filled[b] < partial.sequences[b].top3.size()) {
      partial.sequences[b].top3[filled[b]++] = static_cast<float>(std::abs(value.value));
    }
  }
  const int64_t above = std::count_if(values.begin(), values.end(), [&](const ActivationValue& value) {
    return std::abs(value.value) > query.above;
  });
  const int64_t wanted = std::max(query.top, std::min(above, query.limit));
  if (static_cast<int64_t>(values.size()) > wanted) values.resize(static_cast<size_t>(wanted));
  partial.largest = std::move(values);
  return partial;
}

std::vector<std::vector<int64_t>> key_counts(const at::Tensor& x_in, const std::vector<int64_t>& bins) {
  if (bins.empty()) return {};
  const at::Tensor flat = x_in.reshape({1, -1}).contiguous();
  if (flat.numel() >= (int64_t{1} << 32)) return reference::key_counts(x_in, bins);
  const c10::cuda::CUDAGuard guard(flat.device());
  // Rows of a size that occupies the device.
  constexpr int64_t kRow = 4096;
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(flat.get_device()).stream();
  const std::vector<int32_t> narrow(bins.begin(), bins.end());
  const at::Tensor wanted = at::tensor(narrow, at::kInt).to(flat.device());
  const auto bin_count = static_cast<int32_t>(bins.size());
  const at::Tensor counts = at::zeros({bin_count, kKeysPerBin}, flat.options().dtype(at::kInt));
  const auto launch = [&](int64_t first, int64_t rows, int64_t columns) {
    if (rows * columns == 0) return;
    const Input input{
        flat.const_data_ptr<float>() + first, ElementType::kFloat32, 1, rows, columns, 0, columns};
    check(count_keys(input, reinterpret_cast<const uint32_t*>(wanted.const_data_ptr<int32_t>()), bin_count,
                     reinterpret_cast<uint32_t*>(counts.mutable_data_ptr<int32_t>()), stream),
          "counts of values");
  };
  const int64_t rows = flat.numel() / kRow;
  launch(0, rows, kRow);
  launch(rows * kRow, 1, flat.numel() - rows * kRow);
  const at::Tensor host = counts.to(at::kCPU);
  std::vector<std::vector<int64_t>> result;
  for (int32_t i = 0; i < bin_count; ++i) {
    const auto* row = reinterpret_cast<const uint32_t*>(host.const_data_ptr<int32_t>()) + i * kKeysPerBin;
    result.emplace_back(row, row + kKeysPerBin);
  }
  return result;
}

WeightPartial weight_partial(const at::Tensor& w_in) {
  if (!fits(w_in.unsqueeze(0))) return reference::weight_partial(w_in);
  const c10::cuda::CUDAGuard guard(w_in.device());
  const at::Tensor w = readable(w_in).unsqueeze(0);
  const Scanned scanned = scan_tensor(w, {}, 0, true);
  const int64_t R = w.size(1), C = w.size(2);

  WeightPartial partial;
  partial.moments = scanned.sequences[0].moments;
  partial.nonfinite = R * C - partial.moments.count;
  const auto lines = [](const std::vector<uint32_t>& max, const std::vector<double>& sums,
                        const std::vector<uint32_t>& nonfinite, int64_t length) {
    LineSums result;
    for (const uint32_t bits : max) result.max.push_back(std::bit_cast<float>(bits));
    result.abs_sum = sums;
    for (const uint32_t missing : nonfinite) result.count.push_back(length - missing);
    return result;
  };
  partial.rows = lines(scanned.token_max, scanned.row_sums, scanned.row_nonfinite, C);
  partial.columns = lines(scanned.channel_max, scanned.column_sums, scanned.column_nonfinite, R);

  if (partial.moments.count == 0) return partial;
  struct Place {
    int64_t bin, rank;  // rank in the bin
  };
  const auto place_of = [](const auto& counts, int64_t rank) {
    int64_t bin = 0;
    while (rank >= static_cast<int64_t>(counts[static_cast<size_t>(bin)])) {
      rank -= static_cast<int64_t>(counts[static_cast<size_t>(bin++)]);
    }
    return Place{bin, rank};
  };
  const auto value_of = [&](int64_t rank) {
    const Place place = place_of(scanned.histogram, rank);
    if (w.scalar_type() != at::kFloat) {
      return magnitude_of_key(static_cast<uint32_t>(place.bin), w.scalar_type());
    }
    const Place key = place_of(key_counts(w, {place.bin})[0], place.rank);
    return magnitude_of_key(static_cast<uint32_t>(place.bin << 16 | key.bin), at::kFloat);
  };
  const int64_t n = partial.moments.count, low = (n - 1) / 2, high = n / 2;
  const double lower = value_of(low);
  partial.median = high == low ? lower : (lower + value_of(high)) / 2;
  return partial;
}

}  // namespace outliers::stats::cuda
