// Tensors that statistics must get right, shared by the tests of this room.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include <ATen/ATen.h>

namespace outliers::stats::tests {

struct Input {
  std::string name;
  at::Tensor x;  // [B,T,C]
};

inline at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype, uint64_t seed = 7) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(shape, generator, at::TensorOptions().dtype(at::kFloat)).to(dtype);
}

inline double largest_of(at::ScalarType dtype) {
  if (dtype == at::kHalf) return 65504.0;
  return dtype == at::kBFloat16 ? 3.3895313892515355e38
                                : static_cast<double>(std::numeric_limits<float>::max());
}

inline double smallest_of(at::ScalarType dtype) {  // subnormal
  if (dtype == at::kHalf) return 5.9604644775390625e-08;
  return dtype == at::kBFloat16 ? 9.183549615799121e-41
                                : static_cast<double>(std::numeric_limits<float>::denorm_min());
}

inline std::vector<Input> inputs(at::ScalarType dtype) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<Input> list;
  const auto add = [&](const char* name, const at::Tensor& x) { list.push_back({name, x}); };
  add("one element", at::full({1, 1, 1}, -3.5, dtype));
  add("one token", random({2, 1, 37}, dtype));
  add("one channel", random({2, 33, 1}, dtype));
  add("small", random({3, 5, 7}, dtype));
  add("even count", random({2, 16, 64}, dtype));
  add("odd width", random({2, 67, 131}, dtype));
  add("larger than the sample", random({2, 70, 301}, dtype));
  add("constant", at::full({2, 9, 40}, 0.7, dtype));
  add("zeros", at::zeros({2, 9, 40}, dtype));
  add("mostly zeros", random({2, 40, 90}, dtype).relu() * (random({2, 40, 90}, dtype, 9) > 0.5));
  add("half zeros, half ones", at::arange(2 * 4 * 16).remainder(2).to(dtype).reshape({2, 4, 16}));
  add("ties", random({2, 40, 50}, dtype).mul(2).round());
  add("far from zero", random({2, 30, 64}, dtype) * 0.25 + 50);
  add("subnormal",
      random({2, 20, 30}, dtype).mul(3).round().to(at::kDouble).mul(smallest_of(dtype)).to(dtype));
  add("not contiguous, channels last", random({2, 12, 40}, dtype).slice(2, 3, 36));
  add("not contiguous, transposed", random({2, 40, 12}, dtype).transpose(1, 2));
  add("not contiguous, batch inside", random({12, 3, 40}, dtype).transpose(0, 1));
  add("expanded", random({1, 1, 20}, dtype).expand({2, 6, 20}));

  at::Tensor massive = random({3, 20, 48}, dtype);
  massive[0][0][5] = 2500.0;
  massive[1][0][5] = -2400.0;
  massive[1][0][47] = 2500.0;  // tie across sequences
  massive[2][19][0] = -1500.0;
  massive[2][3][1] = 101.0;  // above 100, below 1000 medians
  add("massive", massive);

  at::Tensor huge = random({2, 10, 24}, dtype);
  huge[0][0][0] = largest_of(dtype);
  huge[1][2][3] = -largest_of(dtype);
  add("huge", huge);

  at::Tensor broken = random({3, 12, 40}, dtype);
  broken[0][1][2] = nan;
  broken[0][1][3] = inf;
  broken[1][5] = -inf;             // a token without a finite value
  broken.select(2, 7).fill_(nan);  // a channel without one
  broken[2][11][39] = inf;
  add("not finite here and there", broken);
  at::Tensor gone = random({2, 4, 8}, dtype);
  gone[1].fill_(nan);
  add("a sequence without a finite value", gone);
  add("nothing finite", at::full({1, 3, 4}, inf, dtype));
  add("two finite values",
      at::full({1, 3, 4}, nan, dtype)
          .index_put({at::tensor(0), at::tensor(1), at::tensor({1, 2})}, at::tensor({-1.0, 0.0}).to(dtype)));
  return list;
}

}  // namespace outliers::stats::tests
