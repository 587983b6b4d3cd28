// Numbers, vectors and tensors as bytes, for another process of the same build on a machine of the same kind.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/error.h"

namespace outliers {

class ByteWriter {
 public:
  template <typename T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <typename T>
  void put(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    put(values.size());
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  void put(std::string_view text) {
    put(text.size());
    bytes_ += text;
  }
  /// Any device and strides; an undefined tensor stays undefined.
  void put(const at::Tensor& tensor);

  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/// Reads in the order of writing; throws where bytes are missing.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  T get() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  template <typename T>
  std::vector<T> get_vector() {
    const auto count = get<size_t>();
    require(count <= bytes_.size() / sizeof(T), kNetwork, "another rank sent {} values too few bytes", count);
    std::vector<T> values(count);
    if (count > 0) std::memcpy(values.data(), take(count * sizeof(T)).data(), count * sizeof(T));
    return values;
  }
  std::string get_text() { return std::string(take(get<size_t>())); }
  /// On the CPU, contiguous.
  at::Tensor get_tensor();
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view take(size_t count) {
    require(count <= bytes_.size(), kNetwork, "another rank sent {} bytes too few",
            count - std::min(count, bytes_.size()));
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }

  std::string_view bytes_;
};

}  // namespace outliers
