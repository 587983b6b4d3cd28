// Vectors of floats as wide as the target's registers, written with the compilers' vector extension so that
// one source serves AVX-512, AVX2, NEON and SSE; and the two functions the softmax needs on them.
#pragma once

#include <cstdint>
#include <cstring>

namespace outliers::ops::simd {

#if defined(__AVX512F__)
inline constexpr int kWidth = 16;
inline constexpr int kRegisters = 32;
#elif defined(__AVX__)
inline constexpr int kWidth = 8;
inline constexpr int kRegisters = 16;
#elif defined(__aarch64__)
inline constexpr int kWidth = 4;
inline constexpr int kRegisters = 32;
#else
inline constexpr int kWidth = 4;
inline constexpr int kRegisters = 16;
#endif

typedef float Floats __attribute__((vector_size(kWidth * sizeof(float))));
typedef int32_t Ints __attribute__((vector_size(kWidth * sizeof(int32_t))));
typedef uint32_t Bits __attribute__((vector_size(kWidth * sizeof(uint32_t))));

inline Floats load(const float* p) {
  Floats x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

inline void store(float* p, Floats x) {
  std::memcpy(p, &x, sizeof x);
}

inline Floats broadcast(float x) {
  return x - Floats{};
}

/// 0, 1, 2, ...
inline Ints lane_numbers() {
  Ints n{};
  for (int i = 0; i < kWidth; ++i) n[i] = i;
  return n;
}

inline float sum(Floats x) {
  float halves[kWidth];
  store(halves, x);
  for (int n = kWidth / 2; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) halves[i] += halves[i + n];
  }
  return halves[0];
}

/// e^x for x <= 0, to about 1 unit in the last place; below the smallest normal number 0; NaN stays NaN.
inline Floats exp_nonpositive(Floats x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
  const Floats shifted = x * 1.44269504f + kRound;
  const Floats n = shifted - kRound;
  const Floats r = (x - n * 0.693359375f) - n * -2.12194440e-4f;  // ln 2 in two parts
  // Taylor's series to r^7 is within 2e-8 on |r| <= ln(2) / 2.
  Floats p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // Unsigned, because the sum wraps where x is below the range.
  const Bits exponent = __builtin_bit_cast(Bits, shifted) << 23;
  const Floats scaled = __builtin_bit_cast(Floats, __builtin_bit_cast(Bits, p) + exponent);
  return x < -87.3f ? Floats{} : scaled;
}

/// tanh x: near 0 by the odd polynomial of Cephes' tanhf, elsewhere from e^(-2 abs x).
inline Floats tanh(Floats x) {
  const Floats magnitude = x < 0 ? -x : x;
  const Floats square = x * x;
  Floats p = square * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  const Floats near = p * square * x + x;
  const Floats e = exp_nonpositive(-2.0f * magnitude);
  const Floats far = (1.0f - e) / (1.0f + e);
  return magnitude < 0.625f ? near : (x < 0 ? -far : far);
}

}  // namespace outliers::ops::simd
