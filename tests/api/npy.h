// What NumPy's save() writes, for tests.
#pragma once

#include <string>

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace outliers::tests {

/// The .npy file of a float tensor.
inline std::string npy(const at::Tensor& x) {
  std::string shape;
  for (const int64_t size : x.sizes()) shape += fmt::format("{},", size);
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({})}}", shape);
  header.resize(118, ' ');
  const at::Tensor values = x.to(at::kFloat).contiguous();
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header +
         std::string(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
}

}  // namespace outliers::tests
