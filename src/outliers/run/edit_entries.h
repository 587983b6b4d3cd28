// The parts of an edit that one tensor suffices for: which entries its choices select, and what becomes of
// them.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "outliers/run/edit.h"

namespace outliers::run {

/// What the choices of a point are resolved against.
struct EntryPlace {
  Point point;
  at::Tensor classes;        ///< [b,T] of the slice's tokens; undefined where the input has none
  at::Tensor experts;        ///< [b,T,k]: experts.index of the slice; undefined but for points by expert
  int64_t expert_count = 0;  ///< E
};

/// Which entries of x the choices select: bool, to be broadcast; undefined: all.
at::Tensor chosen_entries(const Selection& selection, const EntryPlace& place, const at::Tensor& x);
/// The same for a matrix [out,in], by row and column.
at::Tensor chosen_entries(const Selection& selection, const at::Tensor& matrix);
/// Both; either may be undefined.
at::Tensor both(const at::Tensor& a, const at::Tensor& b);

/// As many entries as `mask`, which is of one sequence or of a matrix, has: where no index of any dimension
/// has an entry of it, as far as there are such, else outside the mask. `causal`: the last two dimensions are
/// queries and keys, which are no later. Always the same for a seed; bool, on the mask's device.
at::Tensor random_entries(const at::Tensor& mask, uint64_t seed, bool causal);

/// Normal numbers of a standard deviation, float32 on the CPU, always the same for a seed and a shape.
at::Tensor noise_of(uint64_t seed, double deviation, at::IntArrayRef shape);
/// One seed of several numbers.
uint64_t mixed_seed(std::initializer_list<uint64_t> numbers);

/// x with the operation made on the entries of `mask` (undefined: all). `average`: for means and medians, to
/// be broadcast; NaN leaves an entry as it is. `noise`: for noise, of x's shape. Never writes into x; bits of
/// what is not selected stay.
at::Tensor operated(const Operation& operation, const at::Tensor& x, const at::Tensor& mask,
                    const at::Tensor& average, const at::Tensor& noise, const Slice& slice);

/// The matrix with an edit of weights made: what it needs, it takes from the matrix itself. `expert`: as in
/// LayerWeight.
at::Tensor edited_matrix(const Edit& edit, const at::Tensor& matrix, int64_t expert);

}  // namespace outliers::run
