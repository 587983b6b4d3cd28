// As Pillow computes (to version 12; 13 begins with the rows for some shapes, which changes a few values by a
// level): columns first, then rows, with the result of the first pass rounded to 8 bits; weights are
// fixed-point numbers of 22 bits that sum to one before they are rounded.
#include "outliers/models/resample.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "outliers/core/shape.h"

namespace outliers::models {

namespace {

constexpr int kFractionBits = 32 - 8 - 2;
constexpr int64_t kChannels = 3;
constexpr double kPi = std::numbers::pi;

double sinc(double x) {
  return x == 0.0 ? 1.0 : std::sin(x * kPi) / (x * kPi);
}

/// Half of the filter's width, in pixels of the larger image.
double support_of(Filter filter) {
  switch (filter) {
    case Filter::box:
      return 0.5;
    case Filter::lanczos:
      return 3.0;
    case Filter::bicubic:
      return 2.0;
    default:
      return 1.0;
  }
}

double weight_at(Filter filter, double x) {
  const double distance = std::abs(x);
  switch (filter) {
    case Filter::box:
      return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    case Filter::bilinear:
      return distance < 1.0 ? 1.0 - distance : 0.0;
    case Filter::hamming:
      if (distance == 0.0) return 1.0;
      return distance < 1.0 ? sinc(distance) * (0.54 + 0.46 * std::cos(distance * kPi)) : 0.0;
    case Filter::bicubic: {
      // Keys' kernel, a = -0.5.
      constexpr double a = -0.5;
      if (distance < 1.0) return ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0;
      return distance < 2.0 ? (((distance - 5.0) * distance + 8.0) * distance - 4.0) * a : 0.0;
    }
    case Filter::lanczos:
      return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
    case Filter::nearest:
      break;
  }
  return 0.0;
}

/// The source pixels of one target pixel: `weights` for first, first + 1, ...
struct Window {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

std::vector<Window> windows(int64_t from, int64_t to, Filter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), stretch = std::max(scale, 1.0);
  const double support = support_of(filter) * stretch, shrink = 1.0 / stretch;
  std::vector<Window> all(static_cast<size_t>(to));
  std::vector<double> exact;
  for (int64_t i = 0; i < to; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto first = static_cast<int64_t>(std::max(0.0, std::trunc(center - support + 0.5)));
    const auto last = std::min(from, static_cast<int64_t>(center + support + 0.5));
    exact.clear();
    double sum = 0.0;
    for (int64_t x = first; x < last; ++x) {
      exact.push_back(weight_at(filter, (static_cast<double>(x) - center + 0.5) * shrink));
      sum += exact.back();
    }
    Window& window = all[static_cast<size_t>(i)];
    window.first = first;
    for (double weight : exact) {
      if (sum != 0.0) weight /= sum;
      window.weights.push_back(
          static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * static_cast<double>(1 << kFractionBits)));
    }
  }
  return all;
}

uint8_t rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

/// Resizes the second dimension of x [n,from,3] to `to`.
at::Tensor resample_columns(const at::Tensor& x, int64_t to, Filter filter) {
  const int64_t rows = x.size(0), from = x.size(1);
  const std::vector<Window> all = windows(from, to, filter);
  at::Tensor out = at::empty({rows, to, kChannels}, at::kByte);
  const auto* in = x.const_data_ptr<uint8_t>();
  auto* result = out.mutable_data_ptr<uint8_t>();
  at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t i = 0; i < to; ++i) {
        const Window& window = all[static_cast<size_t>(i)];
        const uint8_t* pixel = in + (row * from + window.first) * kChannels;
        int32_t sums[kChannels] = {1 << (kFractionBits - 1), 1 << (kFractionBits - 1),
                                   1 << (kFractionBits - 1)};
        for (int32_t weight : window.weights) {
          for (int64_t c = 0; c < kChannels; ++c) sums[c] += pixel[c] * weight;
          pixel += kChannels;
        }
        for (int64_t c = 0; c < kChannels; ++c) result[(row * to + i) * kChannels + c] = rounded(sums[c]);
      }
    }
  });
  return out;
}

/// The nearest source pixel of each target pixel. Positions are added up as Pillow does, with its rounding.
at::Tensor nearest_places(int64_t from, int64_t to) {
  const double step = static_cast<double>(from) / static_cast<double>(to);
  std::vector<int64_t> places;
  double at = step * 0.5;
  for (int64_t i = 0; i < to; ++i, at += step) {
    places.push_back(std::min(from - 1, static_cast<int64_t>(at)));
  }
  return at::tensor(places, at::kLong);
}

}  // namespace

at::Tensor resample(const at::Tensor& image, int64_t height, int64_t width, Filter filter) {
  check_shape(image, "resample", "image", {-1, -1, kChannels});
  const int64_t H = image.size(0), W = image.size(1);
  if (H == height && W == width) return image;
  at::Tensor x = image.contiguous();
  if (filter == Filter::nearest) {
    return x.index_select(0, nearest_places(H, height)).index_select(1, nearest_places(W, width));
  }
  if (W != width) x = resample_columns(x, width, filter);
  if (H != height) {
    x = resample_columns(x.transpose(0, 1).contiguous(), height, filter).transpose(0, 1).contiguous();
  }
  return x;
}

}  // namespace outliers::models
