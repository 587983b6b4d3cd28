#include "outliers/io/checkpoint.h"

#include <algorithm>
#include <cstring>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "outliers/core/error.h"
#include "outliers/core/regular_file.h"
#include "outliers/core/suggest.h"
#include "outliers/io/checkpoint_files.h"
#include "outliers/io/dequantize.h"
#include "outliers/io/mapped_file.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

// What a plain encoding is in LibTorch, where it has it.
std::optional<at::ScalarType> plain_dtype(std::string_view encoding) {
  if (encoding == "F32") return at::kFloat;
  if (encoding == "F16") return at::kHalf;
  if (encoding == "BF16") return at::kBFloat16;
  if (encoding == "F64") return at::kDouble;
  return std::nullopt;
}

// Encodings whose values float32 cannot hold go through double, which holds all but the largest 64-bit
// integers.
template <typename T>
void widen(const uint8_t* data, int64_t elements, double* out) {
  for (int64_t i = 0; i < elements; ++i) {
    T value;
    std::memcpy(&value, data + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    out[i] = static_cast<double>(value);
  }
}

void decode_wide(std::string_view encoding, const uint8_t* data, int64_t elements, double* out) {
  if (encoding == "F64") return widen<double>(data, elements, out);
  if (encoding == "I32") return widen<int32_t>(data, elements, out);
  if (encoding == "I64") return widen<int64_t>(data, elements, out);
  if (encoding == "U32") return widen<uint32_t>(data, elements, out);
  return widen<uint64_t>(data, elements, out);
}

at::Tensor decoded(const std::string& name, const uint8_t* bytes, int64_t elements, at::ScalarType dtype) {
  const Encoding& encoding = *find_encoding(name);
  if (plain_dtype(name) == dtype || (name == "U8" && dtype == at::kByte)) {
    at::Tensor out = at::empty({elements}, dtype);
    auto* target = static_cast<uint8_t*>(out.data_ptr());
    at::parallel_for(0, elements, 1 << 18, [&](int64_t begin, int64_t end) {
      std::memcpy(target + begin * encoding.bytes, bytes + begin * encoding.bytes,
                  static_cast<size_t>((end - begin) * encoding.bytes));
    });
    return out;
  }
  if (encoding.decode == nullptr) {
    at::Tensor out = at::empty({elements}, at::kDouble);
    decode_wide(name, bytes, elements, out.data_ptr<double>());
    return out.to(dtype);
  }
  at::Tensor out = at::empty({elements}, dtype);
  const int64_t grain = std::max<int64_t>(1, (1 << 16) / encoding.elements);
  at::parallel_for(0, elements / encoding.elements, grain, [&](int64_t begin, int64_t end) {
    if (dtype == at::kFloat) {
      encoding.decode(bytes + begin * encoding.bytes, end - begin,
                      out.data_ptr<float>() + begin * encoding.elements);
      return;
    }
    // Rounded piece by piece: there is never a float32 copy of the whole.
    const at::Tensor piece = at::empty({std::min(grain, end - begin) * encoding.elements}, at::kFloat);
    for (int64_t block = begin; block < end; block += grain) {
      const int64_t blocks = std::min(grain, end - block), count = blocks * encoding.elements;
      encoding.decode(bytes + block * encoding.bytes, blocks, piece.data_ptr<float>());
      out.narrow(0, block * encoding.elements, count).copy_(piece.narrow(0, 0, count));
    }
  });
  return out;
}

}  // namespace

const char* format_name(Format format) {
  switch (format) {
    case Format::gguf:
      return "gguf";
    case Format::safetensors:
      return "safetensors";
    case Format::pytorch:
      return "pytorch";
  }
  return "";
}

int64_t TensorInfo::elements() const {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

std::unique_ptr<Checkpoint> Checkpoint::open(const fs::path& path) {
  std::error_code ec;
  const fs::file_status status = fs::status(path, ec);
  require(fs::exists(status), not_read(ENOENT), "no such file or directory: {}", path.string());
  require_regular(path, true);
  return fs::is_directory(status) ? open_folder(path) : open_file(path);
}

fs::path Checkpoint::directory() const {
  const fs::path parent = fs::is_directory(path_) ? path_ : path_.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

const TensorInfo* Checkpoint::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const TensorInfo& Checkpoint::at(const std::string& name) const {
  const TensorInfo* info = find(name);
  if (info != nullptr) return *info;
  std::vector<std::string> names;
  for (const TensorInfo& t : tensors_) names.push_back(t.name);
  const std::string near = nearest(name, names);
  fail(kArgument, "{} has no tensor {}{}", path_.string(), printable(name),
       near.empty() ? "" : "; the nearest is " + printable(near));
}

uint64_t Checkpoint::weight_bytes() const {
  uint64_t sum = 0;
  for (const TensorInfo& info : tensors_) sum += info.bytes;
  return sum;
}

uint64_t Checkpoint::row_bytes(const TensorInfo& info) {
  const int64_t rows = info.shape.empty() ? 0 : info.shape[0];
  return rows == 0 ? 0 : info.bytes / static_cast<uint64_t>(rows);
}

void Checkpoint::set_tensors(std::vector<TensorInfo> tensors) {
  tensors_ = std::move(tensors);
  index_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) {
    require(index_.emplace(tensors_[i].name, i).second, "{}: tensor {} occurs twice", path_.string(),
            printable(tensors_[i].name));
  }
}

at::ScalarType Checkpoint::native_dtype(const std::string& name) const {
  return plain_dtype(at(name).encoding).value_or(at::kFloat);
}

at::Tensor Checkpoint::decode(const TensorInfo& info, int64_t first, int64_t elements,
                              at::ScalarType dtype) const {
  const Encoding& encoding = *find_encoding(info.encoding);
  count_read(static_cast<uint64_t>(elements / encoding.elements * encoding.bytes));
  return decode_bytes(info.encoding, data(info) + first / encoding.elements * encoding.bytes, elements,
                      dtype);
}

at::Tensor Checkpoint::decode_bytes(const std::string& name, const uint8_t* bytes, int64_t elements,
                                    at::ScalarType dtype) {
  at::Tensor values = decoded(name, bytes, elements, dtype);
  check_map_guard();
  return values;
}

at::Tensor Checkpoint::load(const std::string& name, at::ScalarType dtype) const {
  const TensorInfo& info = at(name);
  return decode(info, 0, info.elements(), dtype).view(info.shape);
}

at::Tensor Checkpoint::load_row_range(const std::string& name, int64_t begin, int64_t end,
                                      at::ScalarType dtype) const {
  const TensorInfo& info = at(name);
  require(info.shape.size() >= 2 && begin >= 0 && begin <= end && end <= info.shape[0],
          "{}: rows {} to {} of tensor {}, which has {}", path_.string(), begin, end, printable(name),
          info.shape.empty() ? 0 : info.shape[0]);
  std::vector<int64_t> shape = info.shape;
  const int64_t row_elements = info.shape[0] == 0 ? 0 : info.elements() / info.shape[0];
  shape[0] = end - begin;
  return decode(info, begin * row_elements, row_elements * (end - begin), dtype).view(shape);
}

at::Tensor Checkpoint::load_rows(const std::string& name, const at::Tensor& rows,
                                 at::ScalarType dtype) const {
  const TensorInfo& info = at(name);
  const at::Tensor wanted = rows.to(at::kCPU, at::kLong).contiguous();
  std::vector<int64_t> shape = info.shape;
  require(shape.size() >= 2, kArgument, "{}: tensor {} has no rows", path_.string(), printable(name));
  shape[0] = wanted.numel();
  at::Tensor out = at::empty(shape, dtype);
  const int64_t* index = wanted.data_ptr<int64_t>();
  for (int64_t i = 0; i < wanted.numel(); ++i)
    out[i].copy_(load_row_range(name, index[i], index[i] + 1, dtype)[0]);
  return out;
}

}  // namespace outliers::io
