// Shape checks for the edges of public functions. Symbols as everywhere in this project: B batch, T tokens, D
// width, H heads, Hk key/value heads, d head width, F MLP width, V vocabulary, L layers, E experts.
#pragma once

#include <string>

#include <ATen/core/Tensor.h>

namespace outliers {

/// "[2, 16, 896]".
std::string shape_string(at::IntArrayRef shape);

/// Throws an Error naming function, tensor, wanted and got shape. A wanted size of -1 matches any.
void check_shape(const at::Tensor& tensor, const char* function, const char* name, at::IntArrayRef wanted);

}  // namespace outliers
