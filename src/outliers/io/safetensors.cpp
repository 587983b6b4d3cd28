#include "outliers/io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <set>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/core/shape.h"
#include "outliers/io/dequantize.h"
#include "outliers/io/mapped_checkpoint.h"
#include "outliers/io/shard_index.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;  // as the reference implementation's MAX_HEADER_SIZE
constexpr size_t kMaxDimensions = 64;

// One file: what its header says, and its bytes.
struct File {
  MappedFile map;
  uint64_t data_start = 0;
  std::vector<TensorInfo> tensors;
  std::vector<uint64_t> offsets;  // from the start of the file

  explicit File(const fs::path& path) : map(path) { read_header(path.string()); }

  void read_header(const std::string& path) {
    const auto bytes = map.bytes();
    // Any bytes may be a length; after it stands a brace.
    if (bytes.size() <= 8 || bytes[8] != '{') map.refuse_foreign();
    require(bytes.size() >= 8, "{} has {} bytes, too few for a safetensors file", path, bytes.size());
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    require(length <= kMaxHeader, "{}: the header claims {} bytes; this is no safetensors file", path,
            length);
    require(length <= bytes.size() - 8,
            "{}: the file ends inside its header; it is cut short, fetch it again", path);
    data_start = 8 + length;
    const char* text = reinterpret_cast<const char*>(bytes.data()) + 8;
    // A tensor's name that occurs twice would silently hide one; the parser's callback sees both.
    std::set<std::string> seen;
    std::string twice;
    const auto watch = [&](int depth, json::parse_event_t event, json& value) {
      if (event == json::parse_event_t::key && depth == 1 && !seen.insert(value.get<std::string>()).second)
        twice = value.get<std::string>();
      return true;
    };
    json header = json::parse(text, text + length, watch, /*allow_exceptions=*/false);
    if (header.is_discarded()) {
      const std::string strict = strict_json({text, length}, path + ": the header of a safetensors file");
      seen.clear();
      header = json::parse(strict, watch);
    }
    require(header.is_object(), "{}: the header is no JSON object", path);
    require(twice.empty(), "{}: tensor {} occurs twice", path, printable(twice));
    for (const auto& [name, entry] : header.items()) {
      if (name != "__metadata__") read_tensor(path, name, entry);
    }
    check_cover(path);
  }

  void read_tensor(const std::string& path, const std::string& key, const json& entry) {
    const std::string name = printable(key);
    const auto malformed = [&](const char* what) { fail("{}: tensor {} has no valid {}", path, name, what); };
    if (!entry.is_object()) malformed("entry");
    const auto dtype = entry.find("dtype"), shape = entry.find("shape"), place = entry.find("data_offsets");
    if (dtype == entry.end() || !dtype->is_string()) malformed("dtype");
    if (shape == entry.end() || !shape->is_array() || shape->size() > kMaxDimensions) malformed("shape");
    if (place == entry.end() || !place->is_array() || place->size() != 2 ||
        !(*place)[0].is_number_unsigned() || !(*place)[1].is_number_unsigned()) {
      malformed("data_offsets");
    }
    TensorInfo info;
    info.name = key;
    info.encoding = dtype->get<std::string>();
    const Encoding* encoding = find_encoding(info.encoding);
    require(encoding != nullptr && encoding->elements == 1, kUnsupported,
            "{}: tensor {} has unknown dtype {}", path, name, printable(info.encoding));
    int64_t elements = 1;
    for (const auto& size : *shape) {
      if (!size.is_number_unsigned()) malformed("shape");
      require(size.get<uint64_t>() <= INT64_MAX &&
                  !__builtin_mul_overflow(elements, size.get<int64_t>(), &elements),
              "{}: the shape of tensor {} overflows", path, name);
      info.shape.push_back(size.get<int64_t>());
    }
    const auto begin = (*place)[0].get<uint64_t>(), end = (*place)[1].get<uint64_t>();
    const uint64_t available = map.size() - data_start;
    require(begin <= end && end <= available,
            "{}: tensor {} lies at bytes {} to {}, but the file has {}; it is cut short, fetch it again",
            path, name, begin, end, available);
    info.bytes = end - begin;
    int64_t wanted = 0;
    require(!__builtin_mul_overflow(elements, encoding->bytes, &wanted) &&
                static_cast<uint64_t>(wanted) == info.bytes,
            "{}: tensor {} of shape {} and dtype {} has {} bytes", path, name, shape_string(info.shape),
            info.encoding, info.bytes);
    tensors.push_back(std::move(info));
    offsets.push_back(data_start + begin);
  }

  // The format allows neither holes nor overlaps; the reference implementation refuses both.
  void check_cover(const std::string& path) {
    std::vector<size_t> order(tensors.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::pair(offsets[a], tensors[a].bytes) < std::pair(offsets[b], tensors[b].bytes);
    });
    uint64_t position = data_start;
    for (const size_t i : order) {
      require(offsets[i] >= position, "{}: tensor {} overlaps another", path, printable(tensors[i].name));
      require(offsets[i] == position, "{}: there are unused bytes before tensor {}", path,
              printable(tensors[i].name));
      position += tensors[i].bytes;
    }
    require(position == map.size(), "{}: {} bytes follow the last tensor", path, map.size() - position);
    // File order, so that reading in order reads forward.
    std::vector<TensorInfo> sorted;
    std::vector<uint64_t> places;
    for (const size_t i : order) {
      sorted.push_back(std::move(tensors[i]));
      places.push_back(offsets[i]);
    }
    tensors = std::move(sorted);
    offsets = std::move(places);
  }
};

class SafetensorsCheckpoint : public MappedCheckpoint {
 public:
  SafetensorsCheckpoint(fs::path path, std::vector<std::unique_ptr<File>> files) : files_(std::move(files)) {
    path_ = std::move(path);
    for (const auto& file : files_) add_file(file->map, std::move(file->tensors), file->offsets);
    finish();
  }

  Format format() const override { return Format::safetensors; }

 private:
  std::vector<std::unique_ptr<File>> files_;
};

const char* safetensors_dtype(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "F32";
    case at::kHalf:
      return "F16";
    case at::kBFloat16:
      return "BF16";
    case at::kDouble:
      return "F64";
    case at::kLong:
      return "I64";
    case at::kInt:
      return "I32";
    default:
      fail(kArgument, "safetensors: cannot write dtype {}", at::toString(dtype));
  }
}

}  // namespace

std::unique_ptr<Checkpoint> open_safetensors(const std::vector<fs::path>& paths) {
  std::vector<std::unique_ptr<File>> files;
  for (const fs::path& path : paths) files.push_back(std::make_unique<File>(path));
  return std::make_unique<SafetensorsCheckpoint>(paths.front(), std::move(files));
}

std::unique_ptr<Checkpoint> open_safetensors_index(const fs::path& path) {
  std::vector<std::unique_ptr<File>> files;
  for (const auto& [name, tensors] : read_shard_index(path)) {
    const fs::path part = path.parent_path() / name;
    files.push_back(std::make_unique<File>(part));
    check_shard(path, part, tensors, files.back()->tensors);
  }
  return std::make_unique<SafetensorsCheckpoint>(path, std::move(files));
}

SafetensorsWriter::SafetensorsWriter(const fs::path& path, bool force, std::vector<TensorPlan> plan,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path, force), plan_(std::move(plan)) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const TensorPlan& tensor : plan_) {
    uint64_t bytes = c10::elementSize(tensor.dtype);
    for (const int64_t size : tensor.shape) bytes *= static_cast<uint64_t>(size);
    header[tensor.name] = {{"dtype", safetensors_dtype(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  file_.write(&length, sizeof length);
  file_.write(text);
}

void SafetensorsWriter::add(const std::string& name, const at::Tensor& tensor) {
  require(next_ < plan_.size() && plan_[next_].name == name &&
              at::IntArrayRef(plan_[next_].shape) == tensor.sizes() &&
              plan_[next_].dtype == tensor.scalar_type(),
          "safetensors: tensor {} {} is not what comes next", printable(name), shape_string(tensor.sizes()));
  const at::Tensor plain = tensor.to(at::kCPU).contiguous();
  file_.write(plain.data_ptr(), plain.nbytes());
  ++next_;
}

void SafetensorsWriter::commit() {
  require(next_ == plan_.size(), kArgument, "safetensors: tensor {} is missing",
          next_ < plan_.size() ? plan_[next_].name : "");
  file_.commit();
}

}  // namespace outliers::io
