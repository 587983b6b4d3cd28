// A small matrix product with its result in registers: rows of A, a number each, against vectors of B.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "outliers/ops/cpu/simd.h"

namespace outliers::ops::cpu {

using simd::Floats;
using simd::kWidth;

// The micro-kernel's result is kRows x kVectors vectors; with those of B and one of A it fills the registers.
inline constexpr int kVectors = simd::kRegisters == 32 ? 4 : 2;
inline constexpr int kRows = 6;
inline constexpr int kLanes = kVectors * kWidth;

/// C [rows, vectors] = (accumulate ? C : 0) + A [rows, depth] . B [depth, vectors]. Entry (r, i) of A is at
/// a[r * row_stride + i * depth_stride]; rows of B and C are b_stride and c_stride floats apart.
template <int rows, int vectors>
inline void multiply(const float* a, int64_t row_stride, int64_t depth_stride, const float* b,
                     int64_t b_stride, float* c, int64_t c_stride, int64_t depth, bool accumulate) {
  Floats sums[rows][vectors] = {};
  for (int64_t i = 0; i < depth; ++i) {
    Floats right[vectors];
#pragma GCC unroll 8
    for (int n = 0; n < vectors; ++n) right[n] = simd::load(b + i * b_stride + n * kWidth);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const float left = a[r * row_stride + i * depth_stride];
#pragma GCC unroll 8
      for (int n = 0; n < vectors; ++n) sums[r][n] += left * right[n];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int n = 0; n < vectors; ++n) {
      float* to = c + r * c_stride + n * kWidth;
      simd::store(to, accumulate ? simd::load(to) + sums[r][n] : sums[r][n]);
    }
  }
}

using Multiply = void (*)(const float*, int64_t, int64_t, const float*, int64_t, float*, int64_t, int64_t,
                          bool);

/// The micro-kernel for a number of rows and vectors known at run time only: kMultiply[rows-1][vectors-1].
template <int... rows>
constexpr auto make_table(std::integer_sequence<int, rows...>) {
  const auto row =
      []<int r, int... vectors>(std::integer_sequence<int, r>, std::integer_sequence<int, vectors...>) {
    return std::array<Multiply, kVectors>{&multiply<r + 1, vectors + 1>...};
  };
  return std::array<std::array<Multiply, kVectors>, kRows>{
      row(std::integer_sequence<int, rows>{}, std::make_integer_sequence<int, kVectors>{})...};
}
inline constexpr auto kMultiply = make_table(std::make_integer_sequence<int, kRows>{});

}  // namespace outliers::ops::cpu
