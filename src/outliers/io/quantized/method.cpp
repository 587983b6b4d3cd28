#include "outliers/io/quantized/method.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/shape.h"

namespace outliers::io::quantized {

const std::vector<std::string_view> kFloats = {"F16", "BF16", "F32"};

int64_t Method::integer(const char* key, int64_t otherwise) const {
  const auto found = config_.find(key);
  if (found == config_.end() || found->is_null()) return otherwise;
  require(found->is_number_integer(), "{}: quantization_config: '{}' should be an integer", where_, key);
  return found->get<int64_t>();
}

std::string Method::string(const char* key, const std::string& otherwise) const {
  const auto found = config_.find(key);
  if (found == config_.end() || found->is_null()) return otherwise;
  require(found->is_string(), "{}: quantization_config: '{}' should be a string", where_, key);
  return found->get<std::string>();
}

std::array<int64_t, 2> Method::pair(const json& object, const char* key) const {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {0, 0};
  const bool right = found->is_array() && found->size() == 2 && (*found)[0].is_number_integer() &&
                     (*found)[1].is_number_integer() && (*found)[0].get<int64_t>() > 0 &&
                     (*found)[1].get<int64_t>() > 0;
  require(right, "{}: quantization_config: '{}' should be two positive numbers", where_, key);
  return {(*found)[0].get<int64_t>(), (*found)[1].get<int64_t>()};
}

void Method::only(const char* key, const std::string& otherwise,
                  std::initializer_list<std::string_view> known) const {
  const std::string value = string(key, otherwise);
  require(std::find(known.begin(), known.end(), value) != known.end(), kUnsupported,
          "{}: quantization_config: the {} '{}' is not supported; known: {}", where_, key, printable(value),
          fmt::join(known, ", "));
}

std::vector<std::string> Method::stems(std::string_view suffix) const {
  std::vector<std::string> found;
  for (const TensorInfo& info : stored_.tensors()) {
    if (info.name.size() > suffix.size() && info.name.ends_with(suffix))
      found.push_back(info.name.substr(0, info.name.size() - suffix.size()));
  }
  return found;
}

const TensorInfo& Method::part(const std::string& stem, const char* suffix,
                               const std::vector<std::string_view>& encodings, size_t dimensions) const {
  const TensorInfo* info = stored_.find(stem + suffix);
  require(info != nullptr, "{}: the quantised weight {} lacks its tensor {}", where_, printable(stem),
          suffix + 1);
  require(std::find(encodings.begin(), encodings.end(), info->encoding) != encodings.end() &&
              info->shape.size() == dimensions,
          "{}: tensor {} is {} of shape {}; as part of a quantised weight it should be {} of {} dimensions",
          where_, printable(info->name), info->encoding, shape_string(info->shape),
          fmt::join(encodings, " or "), dimensions);
  return *info;
}

void Method::wrong_shape(const TensorInfo& info, const std::string& wanted) const {
  fail("{}: tensor {} has shape {}, which does not fit its quantised weight: {}", where_,
       printable(info.name), shape_string(info.shape), wanted);
}

void Method::shape(const TensorInfo& info, const std::vector<int64_t>& wanted) const {
  if (info.shape != wanted) wrong_shape(info, "it should be " + shape_string(wanted));
}

std::array<int64_t, 2> Method::blocks(const TensorInfo& weight, const TensorInfo& scale,
                                      std::array<int64_t, 2> named) const {
  std::array<int64_t, 2> size{};
  for (size_t i = 0; i < 2; ++i) {
    const int64_t whole = weight.shape[i], parts = scale.shape[i];
    if (named[i] > 0 && ceil_divide(whole, named[i]) == parts) {
      size[i] = named[i];
    } else if (parts > 0 && whole % parts == 0) {
      size[i] = std::max<int64_t>(1, whole / parts);
    } else {
      wrong_shape(scale,
                  fmt::format("{} cannot be divided into {} blocks", shape_string(weight.shape), parts));
    }
  }
  return size;
}

void Weights::hide(const Method& m, std::initializer_list<std::string_view> suffixes) {
  for (const std::string_view suffix : suffixes) {
    for (const std::string& stem : m.stems(suffix)) hidden.insert(stem + std::string(suffix));
  }
}

at::Tensor unpack(const at::Tensor& words, int64_t bits, int64_t dim) {
  const at::Tensor shifts = at::arange(0, 32, bits, words.scalar_type());
  std::vector<int64_t> sizes = words.sizes().vec();
  sizes[static_cast<size_t>(dim)] *= shifts.numel();
  std::vector<int64_t> view(static_cast<size_t>(words.dim()) + 1, 1);
  view[static_cast<size_t>(dim) + 1] = shifts.numel();
  const at::Tensor values = at::__rshift__(words.unsqueeze(dim + 1), shifts.view(view));
  return values.bitwise_and((int64_t{1} << bits) - 1).reshape(sizes);
}

at::Tensor groups_of(const Checkpoint& stored, const TensorInfo* named, int64_t in, int64_t group_size,
                     int64_t groups) {
  if (named == nullptr) return at::arange(in, at::kLong).floor_divide(group_size);
  const at::Tensor index = stored.load(named->name, at::kDouble).to(at::kLong);
  require(index.numel() == in && index.ge(0).all().item<bool>() && index.lt(groups).all().item<bool>(),
          "{}: tensor {} names groups that are not there", stored.path().string(), printable(named->name));
  return index;
}

}  // namespace outliers::io::quantized
