// A token is read twice, the second time from the first-level cache. Sums along it are kept in kLanes parts,
// so that the compiler can put them into vectors.
#include "outliers/stats/profile.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace outliers::stats::cpu {
namespace {

constexpr int64_t kLanes = 16;
/// Tokens of a task. It depends on nothing but the shape, so sums do not depend on the thread count.
constexpr int64_t kTask = 256;
/// Tokens whose sums by channel stay in float32.
constexpr int64_t kBlock = 32;

struct Lanes {
  alignas(64) std::array<float, kLanes> part{};
  float& operator[](int64_t i) { return part[static_cast<size_t>(i)]; }
  float sum() const {
    double all = 0;
    for (const float x : part) all += x;
    return static_cast<float>(all);
  }
};

/// What a task finds of its channels.
struct Channels {
  explicit Channels(int64_t C)
      : square(static_cast<size_t>(C)),
        unit(static_cast<size_t>(C)),
        above(static_cast<size_t>(C)),
        above_rms(static_cast<size_t>(C)) {}
  std::vector<double> square, unit;
  std::vector<int32_t> above, above_rms;
};

struct TokenSums {
  float *max, *abs_mean, *square, *variance, *fourth;
};

class Task {
 public:
  Task(int64_t C, const ProfileLimits& limits, Channels& channels)
      : C_(C),
        limits_(limits),
        channels_(channels),
        row_(static_cast<size_t>(C)),
        square_(static_cast<size_t>(C)),
        unit_(static_cast<size_t>(C)) {}

  template <typename Scalar>
  void run(const Scalar* x, int64_t token_stride, int64_t tokens, const TokenSums& out) {
    for (int64_t t = 0; t < tokens; ++t) {
      const Scalar* token = x + t * token_stride;
      for (int64_t c = 0; c < C_; ++c) row_[static_cast<size_t>(c)] = static_cast<float>(token[c]);
      add(t, out);
      if (t % kBlock == kBlock - 1 || t == tokens - 1) flush();
    }
  }

 private:
  /// Calls part(channel, lane) for all channels, the lanes of a vector one after the other.
  template <typename Part>
  void each(const Part& part) const {
    const int64_t whole = C_ / kLanes * kLanes;
    for (int64_t c = 0; c < whole; c += kLanes) {
      for (int64_t i = 0; i < kLanes; ++i) part(c + i, i);
    }
    for (int64_t c = whole; c < C_; ++c) part(c, c - whole);
  }

  void add(int64_t t, const TokenSums& out) {
    const float* row = row_.data();
    Lanes sum, abs_sum, squares, largest;
    each([&](int64_t c, int64_t i) {
      const float x = row[c], size = std::abs(x);
      sum[i] += x;
      abs_sum[i] += size;
      squares[i] += x * x;
      largest[i] = size > largest[i] ? size : largest[i];
    });
    const auto n = static_cast<float>(C_);
    const float mean = sum.sum() / n, square = squares.sum() / n;
    out.max[t] = *std::max_element(largest.part.begin(), largest.part.end());
    out.abs_mean[t] = abs_sum.sum() / n;
    out.square[t] = square;

    Lanes second, fourth;
    each([&](int64_t c, int64_t i) {
      const float d = row[c] - mean, d2 = d * d;
      second[i] += d2;
      fourth[i] += d2 * d2;
    });
    out.variance[t] = second.sum() / n;
    out.fourth[t] = fourth.sum() / n;

    const float inverse = square == 0 ? 0.0f : 1 / square, above = static_cast<float>(limits_.above),
                above_rms = std::sqrt(square) * static_cast<float>(limits_.above_rms);
    float *to_square = square_.data(), *to_unit = unit_.data();
    int32_t *to_above = channels_.above.data(), *to_above_rms = channels_.above_rms.data();
    for (int64_t c = 0; c < C_; ++c) {
      const float x = row[c], x2 = x * x, size = std::abs(x);
      to_square[c] += x2;
      to_unit[c] += x2 * inverse;
      to_above[c] += size >= above ? 1 : 0;
      to_above_rms[c] += size > above_rms ? 1 : 0;
    }
  }

  void flush() {
    for (size_t c = 0; c < square_.size(); ++c) {
      channels_.square[c] += square_[c];
      channels_.unit[c] += unit_[c];
    }
    std::fill(square_.begin(), square_.end(), 0.0f);
    std::fill(unit_.begin(), unit_.end(), 0.0f);
  }

  const int64_t C_;
  const ProfileLimits limits_;
  Channels& channels_;
  std::vector<float> row_, square_, unit_;
};

template <typename Scalar>
void fill(const at::Tensor& x, const ProfileLimits& limits, Profile& p) {
  const int64_t B = x.size(0), T = x.size(1), C = x.size(2), tasks = (T + kTask - 1) / kTask;
  std::vector<Channels> parts(static_cast<size_t>(B * tasks), Channels(C));
  at::parallel_for(0, B * tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / tasks, first = i % tasks * kTask;
      const auto at = [&](at::Tensor& of) { return of.mutable_data_ptr<float>() + b * T + first; };
      Task task(C, limits, parts[static_cast<size_t>(i)]);
      task.run(x.const_data_ptr<Scalar>() + b * x.stride(0) + first * x.stride(1), x.stride(1),
               std::min(kTask, T - first),
               {at(p.max), at(p.abs_mean), at(p.square), at(p.variance), at(p.fourth)});
    }
  });
  auto square = p.channel_square.accessor<double, 2>();
  auto unit = p.channel_unit.accessor<double, 1>();
  auto above = p.above.accessor<int64_t, 1>(), above_rms = p.above_rms.accessor<int64_t, 1>();
  for (int64_t i = 0; i < B * tasks; ++i) {
    const Channels& part = parts[static_cast<size_t>(i)];
    for (int64_t c = 0; c < C; ++c) {
      const auto k = static_cast<size_t>(c);
      square[i / tasks][c] += part.square[k];
      unit[c] += part.unit[k];
      above[c] += part.above[k];
      above_rms[c] += part.above_rms[k];
    }
  }
}

}  // namespace

Profile profile(const at::Tensor& x_in, const ProfileLimits& limits) {
  at::Tensor x = x_in.scalar_type() == at::kDouble ? x_in.to(at::kFloat) : x_in;
  if (x.stride(2) != 1) x = x.contiguous();
  Profile p;
  for (at::Tensor* of_tokens : {&p.max, &p.abs_mean, &p.square, &p.variance, &p.fourth})
    *of_tokens = at::empty({x.size(0), x.size(1)}, at::kFloat);
  p.channel_square = at::zeros({x.size(0), x.size(2)}, at::kDouble);
  p.channel_unit = at::zeros({x.size(2)}, at::kDouble);
  p.above = at::zeros({x.size(2)}, at::kLong);
  p.above_rms = at::zeros({x.size(2)}, at::kLong);
  if (x.numel() == 0) return p;
  switch (x.scalar_type()) {
    case at::kHalf:
      fill<at::Half>(x, limits, p);
      break;
    case at::kBFloat16:
      fill<at::BFloat16>(x, limits, p);
      break;
    default:
      fill<float>(x, limits, p);
  }
  return p;
}

}  // namespace outliers::stats::cpu
