// What the backends share, and the choice between them.
#include "outliers/stats/partial.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <ATen/ATen.h>

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

std::vector<float> sample_magnitudes(const at::Tensor& x, int64_t count) {
  at::Tensor picked = x;
  if (x.numel() > count) {
    // Equal distances alone could stay within a few channels; the remainder term walks across them.
    const int64_t distance = x.numel() / count;
    at::Tensor place = at::arange(count, x.options().dtype(at::kLong));
    place = place * distance + (place * 7919).remainder(distance);
    std::vector<at::Tensor> index(static_cast<size_t>(x.dim()));
    for (int64_t d = x.dim() - 1; d >= 0; --d) {
      index[static_cast<size_t>(d)] = place.remainder(x.size(d));
      place = place.div(x.size(d), "floor");
    }
    c10::List<std::optional<at::Tensor>> indices;
    for (at::Tensor& i : index) indices.push_back(i);
    picked = x.index(indices);
  }
  const at::Tensor host = picked.to(at::kCPU, at::kFloat).abs().contiguous();
  std::vector<float> values(host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel());
  std::erase_if(values, [](float v) { return !std::isfinite(v); });
  std::sort(values.begin(), values.end());
  return values;
}

ActivationPartial activation_partial(const at::Tensor& x, const ActivationQuery& query) {
  return x.is_cpu() ? cpu::activation_partial(x, query) : reference::activation_partial(x, query);
}

std::vector<std::vector<int64_t>> key_counts(const at::Tensor& x, const std::vector<int64_t>& bins) {
  return x.is_cpu() ? cpu::key_counts(x, bins) : reference::key_counts(x, bins);
}

WeightPartial weight_partial(const at::Tensor& w) {
  return w.is_cpu() ? cpu::weight_partial(w) : reference::weight_partial(w);
}

}  // namespace outliers::stats
