#include "outliers/core/shape.h"

#include <fmt/ranges.h>

#include "outliers/core/error.h"

namespace outliers {

std::string shape_string(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

void check_shape(const at::Tensor& tensor, const char* function, const char* name, at::IntArrayRef wanted) {
  require(tensor.defined(), kArgument, "{}: {} is undefined, wanted {}", function, name,
          shape_string(wanted));
  bool same = tensor.dim() == static_cast<int64_t>(wanted.size());
  for (size_t i = 0; same && i < wanted.size(); ++i) {
    same = wanted[i] == -1 || wanted[i] == tensor.size(static_cast<int64_t>(i));
  }
  require(same, kArgument, "{}: {} has shape {}, wanted {}", function, name, shape_string(tensor.sizes()),
          shape_string(wanted));
}

}  // namespace outliers
