// Root-mean-square normalisation (Zhang and Sennrich, arXiv 1910.07467, eq. 4) and layer normalisation (Ba et
// al., arXiv 1607.06450, eq. 4).
#pragma once

#include <ATen/core/Tensor.h>

namespace outliers::ops {

/// x [..., n], weight [n] -> x / sqrt(mean(x^2) + epsilon) * weight over the last dimension, contiguous, in
/// x's dtype. weight is float32 (float64 for float64 x); the arithmetic is in its dtype and rounds once.
/// On the CPU one pass over x, with any strides; no autograd there.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

/// x [..., n] -> (x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias over the last dimension, contiguous,
/// in x's dtype; var is the mean of squares. weight and bias [n], where defined, are float32 (float64 for
/// float64 x); the arithmetic is in their dtype and rounds once.
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon);

}  // namespace outliers::ops
