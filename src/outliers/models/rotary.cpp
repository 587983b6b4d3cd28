#include "outliers/models/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include "outliers/core/error.h"

namespace outliers::models {

namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

/// base^(2i / width), i = 0 .. width/2 - 1: the inverse of the unscaled frequencies.
at::Tensor wavelengths(double base, int64_t width) {
  const at::Tensor exponents =
      at::arange(0, width, 2, at::TensorOptions(at::kFloat)).div_(static_cast<double>(width));
  return at::pow(at::Scalar(base), exponents);
}

at::Tensor llama3(const Rotary& r, const at::Tensor& frequencies) {
  const double positions = static_cast<double>(r.original_positions);
  const at::Tensor lengths = kTwoPi / frequencies;
  const at::Tensor smooth =
      (positions / lengths - r.low_frequency_factor) / (r.high_frequency_factor - r.low_frequency_factor);
  const at::Tensor between = (1 - smooth) * frequencies / r.factor + smooth * frequencies;
  const at::Tensor low =
      at::where(lengths > positions / r.low_frequency_factor, frequencies / r.factor, between);
  return at::where(lengths < positions / r.high_frequency_factor, frequencies, low);
}

at::Tensor yarn(const Rotary& r, const at::Tensor& powers) {
  // The (fractional) index of the frequency that turns `turns` times over the original positions.
  const auto index = [&](double turns) {
    return static_cast<double>(r.width) *
           std::log(static_cast<double>(r.original_positions) / (turns * kTwoPi)) / (2.0 * std::log(r.base));
  };
  double low = index(r.beta_fast), high = index(r.beta_slow);
  if (r.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(r.width - 1));
  if (low == high) high += 0.001;
  const at::Tensor ramp =
      at::arange(r.width / 2, at::TensorOptions(at::kFloat)).sub_(low).div_(high - low).clamp_(0, 1);
  const at::Tensor kept = 1 - ramp;
  return (r.factor * powers).reciprocal() * (1 - kept) + powers.reciprocal() * kept;
}

at::Tensor as_floats(const std::vector<double>& values) {
  return at::tensor(at::ArrayRef<double>(values), at::TensorOptions(at::kDouble)).to(at::kFloat);
}

}  // namespace

double yarn_attention_factor(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

double longrope_attention_factor(double factor, int64_t original_positions) {
  return factor <= 1 ? 1.0
                     : std::sqrt(1 + std::log(factor) / std::log(static_cast<double>(original_positions)));
}

bool stretches(const Rotary& r) {
  const auto longer = [](double factor) { return factor > 1; };
  return r.width > 0 && (r.scaling == "dynamic" || (!r.scaling.empty() && r.factor > 1) ||
                         std::any_of(r.factors.begin(), r.factors.end(), longer) ||
                         std::any_of(r.long_factors.begin(), r.long_factors.end(), longer));
}

at::Tensor rotary_frequencies(const Rotary& r, int64_t tokens) {
  if (r.scaling == "dynamic") {
    const double limit = static_cast<double>(r.original_positions);
    const double length = std::max(static_cast<double>(tokens), limit);
    const double width = static_cast<double>(r.width);
    const double base = r.base * std::pow(r.factor * length / limit - (r.factor - 1), width / (width - 2));
    return wavelengths(base, r.width).reciprocal();
  }
  const at::Tensor powers = wavelengths(r.base, r.width);
  if (r.scaling == "yarn") return yarn(r, powers);
  if (r.scaling == "llama3") return llama3(r, powers.reciprocal());
  if (r.scaling == "linear") return powers.reciprocal().div_(r.factor);
  const bool beyond = r.scaling == "longrope" && tokens > r.original_positions;
  const std::vector<double>& factors = beyond ? r.long_factors : r.factors;
  if (factors.empty()) return powers.reciprocal();
  return as_floats(factors).mul_(powers).reciprocal();
}

}  // namespace outliers::models
