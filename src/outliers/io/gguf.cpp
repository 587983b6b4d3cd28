#include "outliers/io/gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

#include "outliers/core/error.h"
#include "outliers/io/dequantize.h"
#include "outliers/io/mapped_checkpoint.h"
#include "outliers/io/shard_name.h"
#include "outliers/io/unaligned.h"

namespace outliers::io {
namespace {

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxDimensions = 4;  // GGML_MAX_DIMS
constexpr uint64_t kMaxKeyLength = 65535;

// Bytes of one value; 0 for strings and arrays, whose length is in the file.
uint64_t width(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    default:
      return 0;
  }
}

std::optional<int64_t> integer_at(GgufType type, const uint8_t* p) {
  switch (type) {
    case GgufType::u8:
      return read_unaligned<uint8_t>(p);
    case GgufType::i8:
      return read_unaligned<int8_t>(p);
    case GgufType::u16:
      return read_unaligned<uint16_t>(p);
    case GgufType::i16:
      return read_unaligned<int16_t>(p);
    case GgufType::u32:
      return read_unaligned<uint32_t>(p);
    case GgufType::i32:
      return read_unaligned<int32_t>(p);
    case GgufType::i64:
      return read_unaligned<int64_t>(p);
    case GgufType::u64: {
      const auto value = read_unaligned<uint64_t>(p);
      if (value > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> number_at(GgufType type, const uint8_t* p) {
  if (type == GgufType::f32) return read_unaligned<float>(p);
  if (type == GgufType::f64) return read_unaligned<double>(p);
  if (const auto whole = integer_at(type, p)) return static_cast<double>(*whole);
  return std::nullopt;
}

std::string_view string_at(const uint8_t* p) {
  return {reinterpret_cast<const char*>(p) + 8, read_unaligned<uint64_t>(p)};
}

}  // namespace

const GgufMetadata::Entry* GgufMetadata::find(std::string_view key, bool array, const char* wanted) const {
  const auto found = entries_.find(std::string(key));
  if (found == entries_.end()) return nullptr;
  require(found->second.array == array, "{}: metadata key {} should be {}", path_, key, wanted);
  return &found->second;
}

uint64_t GgufMetadata::count(std::string_view key) const {
  const auto found = entries_.find(std::string(key));
  return found == entries_.end() ? 0 : found->second.count;
}

std::optional<std::string> GgufMetadata::string(std::string_view key) const {
  const Entry* e = find(key, false, "a string");
  if (e == nullptr) return std::nullopt;
  require(e->type == GgufType::string, "{}: metadata key {} should be a string", path_, key);
  return std::string(string_at(e->data));
}

std::optional<int64_t> GgufMetadata::integer(std::string_view key) const {
  const Entry* e = find(key, false, "an integer");
  if (e == nullptr) return std::nullopt;
  const auto value = integer_at(e->type, e->data);
  require(value.has_value(), "{}: metadata key {} should be an integer", path_, key);
  return value;
}

std::optional<double> GgufMetadata::number(std::string_view key) const {
  const Entry* e = find(key, false, "a number");
  if (e == nullptr) return std::nullopt;
  const auto value = number_at(e->type, e->data);
  require(value.has_value() && std::isfinite(*value), "{}: metadata key {} should be a finite number", path_,
          key);
  return value;
}

std::optional<bool> GgufMetadata::boolean(std::string_view key) const {
  const Entry* e = find(key, false, "a bool");
  if (e == nullptr) return std::nullopt;
  require(e->type == GgufType::boolean, "{}: metadata key {} should be a bool", path_, key);
  return *e->data != 0;
}

std::optional<std::vector<std::string_view>> GgufMetadata::strings(std::string_view key) const {
  const Entry* e = find(key, true, "an array of strings");
  if (e == nullptr) return std::nullopt;
  require(e->type == GgufType::string, "{}: metadata key {} should be an array of strings", path_, key);
  std::vector<std::string_view> values;
  values.reserve(e->count);
  const uint8_t* p = e->data;
  for (uint64_t i = 0; i < e->count; ++i) {
    values.push_back(string_at(p));
    p += 8 + values.back().size();
  }
  return values;
}

std::optional<std::vector<int64_t>> GgufMetadata::integers(std::string_view key) const {
  const Entry* e = find(key, true, "an array of integers");
  if (e == nullptr) return std::nullopt;
  std::vector<int64_t> values;
  values.reserve(e->count);
  for (uint64_t i = 0; i < e->count; ++i) {
    const auto value = integer_at(e->type, e->data + i * width(e->type));
    require(value.has_value(), "{}: metadata key {} should be an array of integers", path_, key);
    values.push_back(*value);
  }
  return values;
}

std::optional<std::vector<double>> GgufMetadata::numbers(std::string_view key) const {
  const Entry* e = find(key, true, "an array of numbers");
  if (e == nullptr) return std::nullopt;
  std::vector<double> values;
  values.reserve(e->count);
  for (uint64_t i = 0; i < e->count; ++i) {
    const auto value = number_at(e->type, e->data + i * width(e->type));
    require(value.has_value(), "{}: metadata key {} should be an array of numbers", path_, key);
    values.push_back(*value);
  }
  return values;
}

std::optional<std::vector<bool>> GgufMetadata::booleans(std::string_view key) const {
  const Entry* e = find(key, true, "an array of bools");
  if (e == nullptr) return std::nullopt;
  require(e->type == GgufType::boolean, "{}: metadata key {} should be an array of bools", path_, key);
  std::vector<bool> values;
  for (uint64_t i = 0; i < e->count; ++i) values.push_back(e->data[i] != 0);
  return values;
}

// Walks the header once. Every length is checked against what is left of the file before it is used.
class GgufReader {
 public:
  GgufReader(std::string path, std::span<const uint8_t> file) : path_(std::move(path)), file_(file) {}

  void read_all(GgufMetadata& metadata, std::vector<TensorInfo>& tensors, std::vector<uint64_t>& offsets) {
    header();
    metadata.path_ = path_;
    for (uint64_t i = 0; i < keys_; ++i) key_value(metadata, i);
    check_metadata(metadata);
    std::vector<uint64_t> relative;
    for (uint64_t i = 0; i < tensors_; ++i) {
      tensors.push_back(tensor_info(i, relative));
    }
    place(tensors, relative, offsets);
  }

 private:
  const uint8_t* take(uint64_t bytes, const char* what) {
    require(bytes <= file_.size() - position_,
            "{}: the file ends inside {}, at byte {}; it is cut short, fetch it again", path_, what,
            file_.size());
    const uint8_t* p = file_.data() + position_;
    position_ += bytes;
    return p;
  }
  template <typename T>
  T number(const char* what) {
    return read_unaligned<T>(take(sizeof(T), what));
  }
  std::string_view string(const char* what) {
    const auto length = number<uint64_t>(what);
    require(length <= file_.size() - position_, "{}: {} at byte {} claims {} bytes, more than the file has",
            path_, what, position_ - 8, length);
    return {reinterpret_cast<const char*>(take(length, what)), length};
  }

  void header() {
    require(file_.size() >= 4 && std::memcmp(file_.data(), "GGUF", 4) == 0,
            "{} is no GGUF file: it does not begin with \"GGUF\"", path_);
    position_ = 4;
    const auto version = number<uint32_t>("the header");
    require(version != 0x02000000 && version != 0x03000000,
            "{} is a big-endian GGUF file; convert it with gguf_convert_endian.py", path_);
    require(version == 2 || version == 3, kUnsupported, "{} has GGUF version {}; versions 2 and 3 are known",
            path_, version);
    tensors_ = number<uint64_t>("the header");
    keys_ = number<uint64_t>("the header");
    // The smallest tensor info has 8 + 4 + 8 + 4 + 8 bytes with one dimension, the smallest key/value 8 + 4
    // + 1.
    require(tensors_ <= file_.size() / 24, "{}: the header claims {} tensors, more than the file can hold",
            path_, tensors_);
    require(keys_ <= file_.size() / 13, "{}: the header claims {} metadata keys, more than the file can hold",
            path_, keys_);
  }

  GgufType type(std::string_view key) {
    const auto value = number<uint32_t>("the metadata");
    require(value <= static_cast<uint32_t>(GgufType::f64), kUnsupported,
            "{}: metadata key {} has unknown type {}", path_, printable(std::string(key)), value);
    return static_cast<GgufType>(value);
  }

  void key_value(GgufMetadata& metadata, uint64_t number_of_key) {
    const std::string_view name = string("a metadata key");
    require(!name.empty() && name.size() <= kMaxKeyLength, "{}: metadata key {} has a name of {} bytes",
            path_, number_of_key, name.size());
    const std::string key(name);
    GgufMetadata::Entry entry{type(name), false, 1, nullptr};
    if (entry.type == GgufType::array) {
      entry.array = true;
      entry.type = type(name);
      require(entry.type != GgufType::array,
              "{}: metadata key {} is an array of arrays, which no known key is", path_, printable(key));
      entry.count = number<uint64_t>("the metadata");
      const uint64_t smallest = entry.type == GgufType::string ? 8 : width(entry.type);
      require(entry.count <= (file_.size() - position_) / smallest,
              "{}: metadata key {} claims {} elements, more than the file can hold", path_, printable(key),
              entry.count);
    }
    entry.data = file_.data() + position_;
    if (entry.type == GgufType::string) {
      for (uint64_t i = 0; i < entry.count; ++i) string("a metadata string");
    } else {
      take(entry.count * width(entry.type), "the metadata");
    }
    require(metadata.entries_.emplace(key, entry).second, "{}: metadata key {} occurs twice", path_,
            printable(key));
    metadata.keys_.push_back(key);
  }

  void check_metadata(const GgufMetadata& metadata) {
    const int64_t alignment = metadata.integer("general.alignment").value_or(kDefaultAlignment);
    require(alignment > 0 && alignment % 8 == 0 && alignment <= (1 << 20),
            "{}: general.alignment is {}, wanted a multiple of 8", path_, alignment);
    alignment_ = static_cast<uint64_t>(alignment);
    const bool adapter = metadata.has("general.type") && metadata.string("general.type") == "adapter";
    require(
        !adapter, Cause{ErrorKind::argument, {Setting::adapter}},
        "{} is a LoRA adapter, not a model, and adapters in GGUF are not read; give the model, and PEFT's "
        "folder of the adapter with it",
        path_);
  }

  TensorInfo tensor_info(uint64_t number_of_tensor, std::vector<uint64_t>& relative) {
    TensorInfo info;
    info.name = std::string(string("a tensor's name"));
    require(!info.name.empty(), "{}: tensor {} has no name", path_, number_of_tensor);
    const std::string name = printable(info.name);
    const auto dimensions = number<uint32_t>("a tensor's shape");
    require(dimensions <= kMaxDimensions, "{}: tensor {} has {} dimensions; {} is the most", path_, name,
            dimensions, kMaxDimensions);
    int64_t elements = 1;
    for (uint32_t d = 0; d < dimensions; ++d) {
      const auto size = number<uint64_t>("a tensor's shape");
      require(size <= INT64_MAX && !__builtin_mul_overflow(elements, static_cast<int64_t>(size), &elements),
              "{}: the shape of tensor {} overflows", path_, name);
      info.shape.push_back(static_cast<int64_t>(size));
    }
    std::reverse(info.shape.begin(), info.shape.end());
    const auto type_number = number<uint32_t>("a tensor's type");
    const Encoding* encoding = find_gguf_encoding(type_number);
    const std::string other = undecoded_gguf_type(type_number);
    require(encoding != nullptr || other.empty(),
            "{}: tensor {} is {}, which this program cannot decode; use another quantisation", path_, name,
            other);
    require(encoding != nullptr, kUnsupported, "{}: tensor {} has unknown type {}", path_, name, type_number);
    info.encoding = encoding->name;
    const int64_t row = info.shape.empty() ? 1 : info.shape.back();
    require(row % encoding->elements == 0,
            "{}: tensor {} has rows of {} elements, but {} comes in blocks of {}", path_, name, row,
            encoding->name, encoding->elements);
    int64_t bytes = 0;
    require(!__builtin_mul_overflow(elements / encoding->elements, encoding->bytes, &bytes),
            "{}: the size of tensor {} overflows", path_, name);
    info.bytes = static_cast<uint64_t>(bytes);
    relative.push_back(number<uint64_t>("a tensor's offset"));
    return info;
  }

  void place(const std::vector<TensorInfo>& tensors, const std::vector<uint64_t>& relative,
             std::vector<uint64_t>& offsets) {
    const uint64_t start = (position_ + alignment_ - 1) / alignment_ * alignment_;
    std::vector<std::pair<uint64_t, size_t>> order;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const std::string name = printable(tensors[i].name);
      require(relative[i] % alignment_ == 0, "{}: tensor {} starts at {}, which is no multiple of {}", path_,
              name, relative[i], alignment_);
      require(start <= file_.size() && relative[i] <= file_.size() - start &&
                  tensors[i].bytes <= file_.size() - start - relative[i],
              "{}: tensor {} reaches past the end of the file; it is cut short, fetch it again", path_, name);
      offsets.push_back(start + relative[i]);
      order.emplace_back(offsets.back(), i);
    }
    std::sort(order.begin(), order.end());
    for (size_t i = 1; i < order.size(); ++i) {
      const size_t before = order[i - 1].second, here = order[i].second;
      require(order[i - 1].first + tensors[before].bytes <= order[i].first, "{}: tensors {} and {} overlap",
              path_, printable(tensors[before].name), printable(tensors[here].name));
    }
  }

  std::string path_;
  std::span<const uint8_t> file_;
  uint64_t position_ = 0, tensors_ = 0, keys_ = 0, alignment_ = kDefaultAlignment;
};

namespace {

/// One file: a whole checkpoint, or a part of one that gguf-split has cut.
struct GgufFile {
  std::filesystem::path path;
  MappedFile map;
  GgufMetadata metadata;  // its strings lie in the map
  std::vector<TensorInfo> tensors;
  std::vector<uint64_t> offsets;

  explicit GgufFile(const std::filesystem::path& file) : path(file), map(file) {
    map.refuse_foreign();
    GgufReader(path.string(), map.bytes()).read_all(metadata, tensors, offsets);
  }
  int64_t split(const char* key, int64_t otherwise) const {
    return metadata.integer(key).value_or(otherwise);
  }
};

/// All parts of the checkpoint that `named` is one of, in order. Which they are stands in their names and is
/// checked against what gguf-split writes into them (llama.cpp's split.no, split.count, split.tensors.count).
std::vector<std::unique_ptr<GgufFile>> all_parts(std::unique_ptr<GgufFile> named) {
  const int64_t count = named->split("split.count", 1), total = named->split("split.tensors.count", -1);
  std::vector<std::unique_ptr<GgufFile>> parts;
  if (count <= 1) {
    parts.push_back(std::move(named));
    return parts;
  }
  const std::filesystem::path folder = named->path.parent_path();
  const std::string own = named->path.filename().string(), shown = named->path.string();
  const auto name = parse_shard_name(own);
  require(name && name->count == count,
          "{} is one of {} parts, but is not called NAME-00001-of-{:05}.gguf, so the others cannot be found; "
          "call "
          "the parts what they were called, or join them with llama-gguf-split --merge",
          shown, count, count);
  std::vector<std::string> missing;
  std::error_code unreadable;
  for (int64_t i = 1; i <= count; ++i) {
    if (!std::filesystem::exists(folder / name->of(i), unreadable)) missing.push_back(name->of(i));
  }
  require(missing.empty(), not_read(ENOENT),
          "{} is one of {} parts, and beside it {} missing; fetch all parts", shown, count,
          names_in_words(missing) + (missing.size() == 1 ? " is" : " are"));
  const auto architecture = named->metadata.string("general.architecture");
  int64_t tensors = 0;
  for (int64_t i = 1; i <= count; ++i) {
    parts.push_back(i == name->number ? std::move(named) : std::make_unique<GgufFile>(folder / name->of(i)));
    const GgufFile& part = *parts.back();
    const auto other = part.metadata.string("general.architecture");
    require(part.split("split.count", 1) == count && part.split("split.no", -1) == i - 1 &&
                part.split("split.tensors.count", -1) == total &&
                (!other || !architecture || *other == *architecture),
            "{} is no part of the same model as {}: its metadata says part {} of {}, of {} tensors, and the "
            "other's {} parts, of {}; fetch all parts from one place",
            part.path.string(), shown, part.split("split.no", -1) + 1, part.split("split.count", 1),
            part.split("split.tensors.count", -1), count, total);
    tensors += static_cast<int64_t>(part.tensors.size());
  }
  require(total < 0 || tensors == total,
          "{} and the other parts hold {} tensors, but split.tensors.count says {}; fetch all parts from one "
          "place",
          shown, tensors, total);
  return parts;
}

class GgufCheckpoint : public MappedCheckpoint {
 public:
  explicit GgufCheckpoint(const std::filesystem::path& path)
      : parts_(all_parts(std::make_unique<GgufFile>(path))) {
    path_ = path;
    for (const auto& part : parts_) add_file(part->map, std::move(part->tensors), part->offsets);
    finish();
  }

  Format format() const override { return Format::gguf; }
  /// The first part's: the others have none but their place.
  const GgufMetadata* metadata() const override { return &parts_.front()->metadata; }

 private:
  std::vector<std::unique_ptr<GgufFile>> parts_;
};

}  // namespace

bool is_gguf(const std::filesystem::path& path) {
  std::error_code unreadable;
  if (!std::filesystem::is_regular_file(path, unreadable)) return false;
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  return file.read(magic, 4) && std::memcmp(magic, "GGUF", 4) == 0;
}

std::unique_ptr<Checkpoint> open_gguf(const std::filesystem::path& path) {
  return std::make_unique<GgufCheckpoint>(path);
}

}  // namespace outliers::io
