#include "outliers/core/bytes.h"

#include <ATen/ATen.h>

namespace outliers {

void ByteWriter::put(const at::Tensor& tensor) {
  put(tensor.defined());
  if (!tensor.defined()) return;
  const at::Tensor plain = tensor.detach().to(at::kCPU).contiguous();
  put(plain.scalar_type());
  put(plain.sizes().vec());
  put(std::string_view(static_cast<const char*>(plain.const_data_ptr()), plain.nbytes()));
}

at::Tensor ByteReader::get_tensor() {
  if (!get<bool>()) return {};
  const auto dtype = get<at::ScalarType>();
  const auto sizes = get_vector<int64_t>();
  const std::string_view data = take(get<size_t>());
  at::Tensor tensor = at::empty(sizes, dtype);
  require(tensor.nbytes() == data.size(), kNetwork,
          "another rank sent a tensor of another size than it says");
  if (!data.empty()) std::memcpy(tensor.data_ptr(), data.data(), data.size());
  return tensor;
}

}  // namespace outliers
