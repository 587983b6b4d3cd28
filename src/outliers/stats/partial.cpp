// What the backends share, and the choice between them.
#include "outliers/stats/partial.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include <ATen/ATen.h>

#ifdef OUTLIERS_CUDA
#include "outliers/stats/cuda/partial.h"
#endif

namespace outliers::stats {

void Moments::add(const Moments& other) {
  if (other.count == 0) return;
  if (count == 0) {
    *this = other;
    return;
  }
  const double a = static_cast<double>(count), b = static_cast<double>(other.count), n = a + b;
  const double delta = other.mean - mean, step = delta / n, step2 = step * step;
  const double product = delta * step * a * b;
  m4 += other.m4 + product * step2 * (a * a - a * b + b * b) + 6 * step2 * (a * a * other.m2 + b * b * m2) +
        4 * step * (a * other.m3 - b * m3);
  m3 += other.m3 + product * step * (a - b) + 3 * step * (a * other.m2 - b * m2);
  m2 += other.m2 + product;
  mean += step * b;
  count += other.count;
}

bool stands_before(const ActivationValue& a, const ActivationValue& b) {
  const double left = std::abs(a.value), right = std::abs(b.value);
  if (left != right) return left > right;
  if (a.sequence != b.sequence) return a.sequence < b.sequence;
  if (a.token != b.token) return a.token < b.token;
  return a.channel < b.channel;
}

double magnitude_of_key(uint32_t key, at::ScalarType dtype) {
  if (dtype == at::kFloat) return static_cast<double>(std::bit_cast<float>(key));
  if (dtype == at::kBFloat16) return static_cast<double>(std::bit_cast<float>(key << 16));
  return static_cast<double>(
      static_cast<float>(c10::Half(static_cast<uint16_t>(key), c10::Half::from_bits())));
}

int64_t float_bin(float magnitude) {
  return std::bit_cast<uint32_t>(magnitude) >> 16;
}

namespace {

constexpr int64_t kSampleMin = 1024, kSampleMax = 16384, kSampleShare = 64;

/// Places of the sample in row-major order. Equal distances alone could stay within a few channels; the
/// second term walks across them.
int64_t sample_place(int64_t i, int64_t distance) {
  return i * distance + i * 7919 % distance;
}

template <typename Scalar>
void sample_on_cpu(const at::Tensor& x, int64_t distance, std::vector<float>& values) {
  const Scalar* data = x.const_data_ptr<Scalar>();
  const at::IntArrayRef sizes = x.sizes(), strides = x.strides();
  const bool dense = x.is_contiguous();
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t place = sample_place(static_cast<int64_t>(i), distance), offset = 0;
    if (dense) offset = place;
    for (size_t d = dense ? 0 : sizes.size(); d-- > 0;) {
      offset += place % sizes[d] * strides[d];
      place /= sizes[d];
    }
    values[i] = std::abs(static_cast<float>(data[offset]));
  }
}

void sample_on_device(const at::Tensor& x, int64_t distance, std::vector<float>& values) {
  at::Tensor place = at::arange(static_cast<int64_t>(values.size()), x.options().dtype(at::kLong));
  place = place * distance + (place * 7919).remainder(distance);
  std::vector<at::Tensor> reversed;
  for (int64_t d = x.dim() - 1; d >= 0; --d) {
    reversed.push_back(place.remainder(x.size(d)));
    place = place.div(x.size(d), "floor");
  }
  c10::List<std::optional<at::Tensor>> index;
  for (auto i = reversed.rbegin(); i != reversed.rend(); ++i) index.push_back(*i);
  const at::Tensor host = x.index(index).to(at::kCPU, at::kFloat).abs().contiguous();
  std::copy_n(host.const_data_ptr<float>(), values.size(), values.begin());
}

}  // namespace

std::optional<MedianGuess> guess_median(const at::Tensor& x, double standard_errors) {
  const int64_t wanted = std::clamp(x.numel() / kSampleShare, kSampleMin, kSampleMax);
  std::vector<float> values(static_cast<size_t>(std::min(wanted, x.numel())));
  const int64_t distance = x.numel() / static_cast<int64_t>(values.size());
  if (!x.is_cpu()) {
    sample_on_device(x, distance, values);
  } else if (x.scalar_type() == at::kFloat) {
    sample_on_cpu<float>(x, distance, values);
  } else if (x.scalar_type() == at::kHalf) {
    sample_on_cpu<at::Half>(x, distance, values);
  } else {
    sample_on_cpu<at::BFloat16>(x, distance, values);
  }
  std::erase_if(values, [](float v) { return !std::isfinite(v); });
  if (values.empty()) return std::nullopt;
  const double last = static_cast<double>(values.size() - 1);
  // Ranks of a median have a standard error of half the root of the sample's size.
  const double half = std::min(0.5, standard_errors * 0.5 / std::sqrt(static_cast<double>(values.size())));
  const auto low = values.begin() + static_cast<int64_t>((0.5 - half) * last);
  const auto high = values.begin() + static_cast<int64_t>(std::ceil((0.5 + half) * last));
  std::nth_element(values.begin(), low, values.end());
  const float low_value = *low;
  std::nth_element(low, high, values.end());
  return MedianGuess{low_value, *high};
}

ActivationPartial activation_partial(const at::Tensor& x, const ActivationQuery& query) {
  if (x.is_cpu()) return cpu::activation_partial(x, query);
#ifdef OUTLIERS_CUDA
  if (x.is_cuda()) return cuda::activation_partial(x, query);
#endif
  return reference::activation_partial(x, query);
}

std::vector<std::vector<int64_t>> key_counts(const at::Tensor& x, const std::vector<int64_t>& bins) {
  if (x.is_cpu()) return cpu::key_counts(x, bins);
#ifdef OUTLIERS_CUDA
  if (x.is_cuda()) return cuda::key_counts(x, bins);
#endif
  return reference::key_counts(x, bins);
}

KeySums::KeySums(const std::vector<int64_t>& bins)
    : bins_(bins), counts_(bins.size(), std::vector<int64_t>(static_cast<size_t>(kKeysPerBin))) {}

void KeySums::add(const at::Tensor& x) {
  const std::vector<std::vector<int64_t>> counts = key_counts(x, bins_);
  for (size_t b = 0; b < counts_.size(); ++b) {
    std::transform(counts[b].begin(), counts[b].end(), counts_[b].begin(), counts_[b].begin(), std::plus<>());
  }
}

WeightPartial weight_partial(const at::Tensor& w) {
  if (w.is_cpu()) return cpu::weight_partial(w);
#ifdef OUTLIERS_CUDA
  if (w.is_cuda()) return cuda::weight_partial(w);
#endif
  return reference::weight_partial(w);
}

}  // namespace outliers::stats
