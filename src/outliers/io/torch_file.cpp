#include "outliers/io/torch_file.h"

#include <cstring>
#include <mutex>
#include <optional>
#include <span>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/io/mapped_file.h"
#include "outliers/io/pickle.h"
#include "outliers/io/shard_index.h"
#include "outliers/io/zip.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

/// The bytes of one storage: in the map, or a deflated member that is unpacked when it is first needed.
struct Storage {
  std::span<const uint8_t> mapped;
  const ZipReader::Member* deflated = nullptr;
  mutable std::once_flag once;
  mutable std::string unpacked;
};

struct File {
  std::optional<ZipReader> zip;
  std::optional<MappedFile> legacy;
  Unpickled contents;
  std::vector<std::unique_ptr<Storage>> storages;
  std::vector<TensorInfo> tensors;  // as contents.tensors

  explicit File(const fs::path& path) {
    const std::string where = printable(path.string(), 4096);
    if (starts_with_zip(path)) {
      read_zip(path, where);
    } else {
      read_legacy(path, where);
    }
    for (const PickledTensor& tensor : contents.tensors) {
      TensorInfo info{tensor.name, tensor.shape, tensor.encoding->name, 0};
      info.bytes = static_cast<uint64_t>(info.elements()) * static_cast<uint64_t>(tensor.encoding->bytes);
      tensors.push_back(std::move(info));
    }
  }

  const MappedFile& map() const { return zip ? zip->map() : *legacy; }
  std::span<const uint8_t> bytes(const PickledTensor& tensor) const {
    const Storage& storage = *storages[tensor.storage];
    if (storage.deflated == nullptr) return storage.mapped;
    std::call_once(storage.once, [&] { storage.unpacked = zip->contents(*storage.deflated); });
    return {reinterpret_cast<const uint8_t*>(storage.unpacked.data()), storage.unpacked.size()};
  }

 private:
  static bool starts_with_zip(const fs::path& path) {
    const MappedFile file(path);
    return file.size() >= 4 && std::memcmp(file.bytes().data(), "PK\3\4", 4) == 0;
  }

  static uint64_t bytes_of(const PickledStorage& storage, const std::string& where) {
    int64_t bytes = 0;
    require(!__builtin_mul_overflow(storage.elements, storage.element_bytes, &bytes),
            "{}: the size of storage {} overflows", where, printable(storage.key));
    return static_cast<uint64_t>(bytes);
  }

  void read_zip(const fs::path& path, const std::string& where) {
    zip.emplace(path, "PyTorch file");
    // All records stand in one folder, whose name is the file's when it was saved.
    const ZipReader::Member* pickle = nullptr;
    for (const ZipReader::Member& member : zip->members()) {
      if (!member.name.ends_with("/data.pkl") || member.name.find('/') != member.name.size() - 9) continue;
      require(pickle == nullptr, "{} has two data.pkl", where);
      pickle = &member;
    }
    require(pickle != nullptr, "{} is a zip archive without a data.pkl; this is no file of torch.save",
            where);
    const std::string folder = pickle->name.substr(0, pickle->name.size() - 8);
    require(zip->find(folder + "constants.pkl") == nullptr,
            "{} is a TorchScript program, not a checkpoint; save the model's state_dict()", where);
    const ZipReader::Member* order = zip->find(folder + "byteorder");
    const std::string byte_order = order == nullptr ? "little" : zip->contents(*order);
    require(
        byte_order == "little", kUnsupported,
        "{} was written on a {}-endian machine, which is not supported; save it again on a little-endian one",
        where, printable(byte_order, 20));
    const std::string text = zip->contents(*pickle);
    contents = unpickle_state_dict({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, where);
    for (const PickledStorage& storage : contents.storages) {
      const ZipReader::Member* member = zip->find(folder + "data/" + storage.key);
      require(member != nullptr, "{}: the bytes of storage {} are missing", where, printable(storage.key));
      const uint64_t wanted = bytes_of(storage, where);
      require(member->bytes == wanted, "{}: storage {} has {} bytes, but {} elements of {}", where,
              printable(storage.key), member->bytes, storage.elements, storage.element_bytes);
      auto place = std::make_unique<Storage>();
      const std::span<const uint8_t> raw = zip->raw(*member);
      if (member->method == 0) {
        place->mapped = raw;
      } else {
        place->deflated = member;
      }
      storages.push_back(std::move(place));
    }
  }

  void read_legacy(const fs::path& path, const std::string& where) {
    legacy.emplace(path);
    const std::span<const uint8_t> all = legacy->bytes();
    legacy->refuse_foreign();
    require(!all.empty() && all[0] == 0x80,
            "{} is no file of torch.save: neither a zip archive nor a pickle of protocol 2 or newer", where);
    LegacyFile file = unpickle_legacy(all, where);
    contents = std::move(file.contents);
    storages.resize(contents.storages.size());
    std::unordered_map<std::string, size_t> index;
    for (size_t i = 0; i < storages.size(); ++i) index.emplace(contents.storages[i].key, i);
    uint64_t position = file.data_start;
    for (const std::string& key : file.keys) {
      const auto found = index.find(key);
      require(found != index.end(), "{}: storage {} belongs to no tensor", where, printable(key));
      const uint64_t wanted = bytes_of(contents.storages[found->second], where);
      int64_t elements = 0;
      require(all.size() - position >= sizeof elements, "{} is cut short; fetch it again", where);
      std::memcpy(&elements, all.data() + position, sizeof elements);
      position += sizeof elements;
      require(elements == contents.storages[found->second].elements && storages[found->second] == nullptr,
              "{} is damaged: storage {} has two sizes", where, printable(key));
      require(wanted <= all.size() - position, "{} is cut short; fetch it again", where);
      storages[found->second] = std::make_unique<Storage>();
      storages[found->second]->mapped = all.subspan(position, wanted);
      position += wanted;
    }
    for (size_t i = 0; i < storages.size(); ++i) {
      require(storages[i] != nullptr, "{}: the bytes of storage {} are missing", where,
              printable(contents.storages[i].key));
    }
  }
};

/// Of a tensor that has elements.
bool is_contiguous(const PickledTensor& tensor) {
  int64_t wanted = 1;
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != wanted) return false;
    wanted *= tensor.shape[i];
  }
  return true;
}

/// Copies elements of `Width` bytes, flat indices [first, first + count) of a strided tensor, one after
/// another.
template <size_t Width>
void gather(const PickledTensor& tensor, const uint8_t* storage, int64_t first, int64_t count, uint8_t* out) {
  const size_t dimensions = tensor.shape.size();
  std::vector<int64_t> index(dimensions);
  int64_t place = tensor.offset, rest = first;
  for (size_t i = dimensions; i-- > 0;) {
    index[i] = rest % tensor.shape[i];
    rest /= tensor.shape[i];
    place += index[i] * tensor.strides[i];
  }
  for (int64_t n = 0; n < count; ++n) {
    std::memcpy(out + n * static_cast<int64_t>(Width), storage + place * static_cast<int64_t>(Width), Width);
    for (size_t i = dimensions; i-- > 0;) {
      place += tensor.strides[i];
      if (++index[i] < tensor.shape[i]) break;
      place -= tensor.strides[i] * tensor.shape[i];
      index[i] = 0;
    }
  }
}

class TorchCheckpoint : public Checkpoint {
 public:
  TorchCheckpoint(fs::path path, std::vector<std::unique_ptr<File>> files) : files_(std::move(files)) {
    path_ = std::move(path);
    std::vector<TensorInfo> all;
    for (const auto& file : files_) {
      for (size_t i = 0; i < file->tensors.size(); ++i) {
        places_.emplace(file->tensors[i].name, Place{file.get(), &file->contents.tensors[i]});
        all.push_back(file->tensors[i]);
      }
    }
    set_tensors(std::move(all));
  }

  Format format() const override { return Format::pytorch; }
  void prefetch(const std::string& name) const override { advise(name, &MappedFile::prefetch); }
  void release(const std::string& name) const override { advise(name, &MappedFile::release); }

 protected:
  const uint8_t* data(const TensorInfo& info) const override {
    const Place& place = places_.at(info.name);
    return place.file->bytes(*place.tensor).data() + place.tensor->offset * place.tensor->encoding->bytes;
  }

  at::Tensor decode(const TensorInfo& info, int64_t first, int64_t elements,
                    at::ScalarType dtype) const override {
    const Place& place = places_.at(info.name);
    const PickledTensor& tensor = *place.tensor;
    if (elements == 0 || is_contiguous(tensor)) return Checkpoint::decode(info, first, elements, dtype);
    const auto width = static_cast<size_t>(tensor.encoding->bytes);
    std::vector<uint8_t> bytes(static_cast<size_t>(elements) * width);
    count_read(bytes.size());
    const uint8_t* storage = place.file->bytes(tensor).data();
    const auto copy = width == 1 ? gather<1> : width == 2 ? gather<2> : width == 4 ? gather<4> : gather<8>;
    copy(tensor, storage, first, elements, bytes.data());
    return decode_bytes(info.encoding, bytes.data(), elements, dtype);
  }

 private:
  struct Place {
    const File* file;
    const PickledTensor* tensor;
  };

  void advise(const std::string& name, void (MappedFile::*action)(uint64_t, uint64_t) const) const {
    const Place& place = places_.at(at(name).name);
    const Storage& storage = *place.file->storages[place.tensor->storage];
    if (storage.mapped.empty() || at(name).bytes == 0) return;
    const MappedFile& map = place.file->map();
    const auto width = static_cast<uint64_t>(place.tensor->encoding->bytes);
    // A strided tensor may reach over all of its storage.
    const bool whole = !is_contiguous(*place.tensor);
    const uint64_t begin = whole ? 0 : static_cast<uint64_t>(place.tensor->offset) * width;
    (map.*action)(static_cast<uint64_t>(storage.mapped.data() - map.bytes().data()) + begin,
                  whole ? storage.mapped.size() : at(name).bytes);
  }

  std::vector<std::unique_ptr<File>> files_;
  std::unordered_map<std::string, Place> places_;
};

}  // namespace

std::unique_ptr<Checkpoint> open_torch(const std::vector<fs::path>& paths) {
  std::vector<std::unique_ptr<File>> files;
  for (const fs::path& path : paths) files.push_back(std::make_unique<File>(path));
  return std::make_unique<TorchCheckpoint>(paths.front(), std::move(files));
}

std::unique_ptr<Checkpoint> open_torch_index(const fs::path& path) {
  std::vector<std::unique_ptr<File>> files;
  for (const auto& [name, tensors] : read_shard_index(path)) {
    const fs::path part = path.parent_path() / name;
    files.push_back(std::make_unique<File>(part));
    check_shard(path, part, tensors, files.back()->tensors);
  }
  return std::make_unique<TorchCheckpoint>(path, std::move(files));
}

}  // namespace outliers::io
