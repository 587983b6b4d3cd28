#include "outliers/io/pickle.h"

#include "outliers/core/error.h"
#include "outliers/core/shape.h"
#include "outliers/io/unpickler.h"

namespace outliers::io {
namespace pickle {
namespace {

constexpr size_t kMaxDimensions = 64;

}  // namespace

std::vector<int64_t> Unpickler::sizes(const Object& tuple) const {
  if (tuple.items.size() > kMaxDimensions) malformed("a tensor of too many dimensions");
  std::vector<int64_t> values;
  for (size_t i = 0; i < tuple.items.size(); ++i) {
    const Object& size = item(tuple, i, Kind::integer, "a size that is no number");
    if (size.integer < 0 || !size.text.empty()) malformed("a negative or huge size");
    values.push_back(size.integer);
  }
  return values;
}

// ('storage', type, key, location, elements) and, in legacy files, what part of `key` it is.
void Unpickler::persistent_id() {
  const uint32_t number = pop();
  const Object& id = objects_[number];
  constexpr const char* kWrong = "a persistent id that names no storage";
  if (id.kind != Kind::tuple) malformed(kWrong);
  if (item(id, 0, Kind::text, kWrong).text != "storage") malformed(kWrong);
  const Object& type = item(id, 1, Kind::name, kWrong);
  if (type.name->kind != Name::storage_type) malformed(kWrong);
  const std::string key(item(id, 2, Kind::text, kWrong).text);
  const int64_t elements = item(id, 4, Kind::integer, kWrong).integer;
  const Encoding* encoding = type.name->encoding.empty() ? nullptr : find_encoding(type.name->encoding);
  const int64_t width = encoding == nullptr ? 1 : encoding->bytes;
  if (elements < 0) malformed("a storage of negative size");

  const auto [found, fresh] = storage_of_key_.emplace(key, storages_.size());
  if (fresh) storages_.push_back({key, elements, width});
  const PickledStorage& storage = storages_[found->second];
  if (storage.elements != elements || storage.element_bytes != width) {
    malformed("a storage with two sizes");
  }
  StorageView view{found->second, encoding, 0, elements};
  if (id.items.size() > 5 && objects_[id.items[5]].kind != Kind::none) {
    const Object& part = item(id, 5, Kind::tuple, kWrong);
    view.offset = item(part, 1, Kind::integer, kWrong).integer;
    view.elements = item(part, 2, Kind::integer, kWrong).integer;
    if (view.offset < 0 || view.elements < 0 || view.offset > elements ||
        view.elements > elements - view.offset)
      malformed("a part of a storage that lies outside it");
  }
  push({.kind = Kind::storage, .integer = static_cast<int64_t>(views_.size())});
  views_.push_back(view);
}

// (storage, offset, size, stride, requires_grad, hooks[, metadata]); third: (..., hooks, dtype[, metadata]).
void Unpickler::rebuild_tensor(const Object& arguments, bool third) {
  constexpr const char* kWrong = "a tensor with other arguments than torch writes";
  const StorageView& view = views_[static_cast<size_t>(item(arguments, 0, Kind::storage, kWrong).integer)];
  const Object& offset = item(arguments, 1, Kind::integer, kWrong);
  PickledTensor tensor;
  tensor.storage = view.storage;
  tensor.shape = sizes(item(arguments, 2, Kind::tuple, kWrong));
  tensor.strides = sizes(item(arguments, 3, Kind::tuple, kWrong));
  if (tensor.shape.size() != tensor.strides.size() || !offset.text.empty() || offset.integer < 0)
    malformed(kWrong);
  tensor.encoding = view.encoding;
  int64_t elements = view.elements, start = view.offset;
  if (third) {
    const Object& dtype = item(arguments, 6, Kind::name, kWrong);
    if (dtype.name->kind != Name::dtype) malformed(kWrong);
    tensor.encoding = find_encoding(dtype.name->encoding);
    const int64_t width = storages_[view.storage].element_bytes;
    if (width != 1 || start % tensor.encoding->bytes != 0)
      malformed("a typed tensor in a storage of another type");
    elements /= tensor.encoding->bytes;
    start /= tensor.encoding->bytes;
  }
  if (tensor.encoding == nullptr) malformed("a tensor without a dtype");
  const size_t metadata = third ? 7 : 6;
  if (arguments.items.size() > metadata) {  // conjugate and negative bits: lazy operations, not values
    const Object& bits = objects_[arguments.items[metadata]];
    if (bits.kind != Kind::none && (bits.kind != Kind::dict || !bits.items.empty()))
      malformed("a tensor with metadata");
  }

  int64_t count = 1, last = offset.integer;
  bool overflows = false, empty = false;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    empty = empty || tensor.shape[i] == 0;
    overflows = overflows || __builtin_mul_overflow(count, tensor.shape[i], &count);
  }
  for (size_t i = 0; i < tensor.shape.size() && !empty; ++i) {
    int64_t reach = 0;
    overflows = overflows || __builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &reach) ||
                __builtin_add_overflow(last, reach, &last);
  }
  require(!overflows, "{}: the shape {} of a tensor overflows", where_, shape_string(tensor.shape));
  require(offset.integer <= elements && (empty || last < elements),
          "{}: a tensor of shape {} and strides {} lies outside its storage of {} elements", where_,
          shape_string(tensor.shape), shape_string(tensor.strides), elements);
  // Views that repeat elements could claim any size; torch.save of a checkpoint has none.
  require(count <= elements,
          "{}: a tensor of shape {} is expanded from {} elements; save its contiguous() copy", where_,
          shape_string(tensor.shape), elements);
  tensor.offset = start + offset.integer;
  push({.kind = Kind::tensor, .integer = static_cast<int64_t>(tensors_.size())});
  tensors_.push_back(std::move(tensor));
}

Unpickled Unpickler::take_state_dict(const Object& top) {
  const auto is_dict = [&](const Object& object) { return object.kind == Kind::dict; };
  const auto has_tensor = [&](const Object& dict) {
    for (size_t i = 1; i < dict.items.size(); i += 2) {
      if (objects_[dict.items[i]].kind == Kind::tensor) return true;
    }
    return false;
  };
  require(is_dict(top), "{}: the pickle holds no state dict (a dict of tensors by name)", where_);
  // Trainers put it beside what else they keep.
  const Object* dict = &top;
  std::string_view wrapper;
  const bool wrapped = !has_tensor(top);
  for (size_t i = 0; i < top.items.size() && wrapped; i += 2) {
    const Object &key = objects_[top.items[i]], &value = objects_[top.items[i + 1]];
    const bool wraps =
        key.kind == Kind::text && (key.text == "state_dict" || key.text == "model" || key.text == "module");
    if (!wraps || !is_dict(value) || !has_tensor(value)) continue;
    require(wrapper.empty(),
            "{}: the pickle holds tensors under '{}' and under '{}'; save the ones to read alone", where_,
            wrapper, key.text);
    wrapper = key.text;
    dict = &value;
  }
  Unpickled result;
  for (size_t i = 0; i < dict->items.size(); i += 2) {
    const Object &key = objects_[dict->items[i]], &value = objects_[dict->items[i + 1]];
    if (value.kind != Kind::tensor) continue;
    require(key.kind == Kind::text, "{}: a tensor of the state dict has no name", where_);
    result.tensors.push_back(tensors_[static_cast<size_t>(value.integer)]);
    result.tensors.back().name = std::string(key.text);
  }
  require(!result.tensors.empty(), "{}: the pickle holds no tensors", where_);
  result.storages = std::move(storages_);
  return result;
}

}  // namespace pickle

using pickle::Kind, pickle::Object, pickle::Unpickler;

Unpickled unpickle_state_dict(std::span<const uint8_t> pickle, const std::string& where) {
  Unpickler unpickler(pickle, where);
  const Object& top = unpickler.run();
  return unpickler.take_state_dict(top);
}

LegacyFile unpickle_legacy(std::span<const uint8_t> file, const std::string& where) {
  // torch's serialization.py: MAGIC_NUMBER, PROTOCOL_VERSION.
  constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
  Unpickler unpickler(file, where);
  const Object& magic = unpickler.run();
  require(magic.kind == Kind::integer && magic.text == kMagic, "{} is no file of torch.save", where);
  const Object& version = unpickler.run();
  require(version.kind == Kind::integer && version.integer == 1001, kUnsupported,
          "{}: version {} of torch.save is not known", where, version.integer);
  const Object& system = unpickler.run();
  for (size_t i = 0; system.kind == Kind::dict && i < system.items.size(); i += 2) {
    const Object& value = unpickler.object(system.items[i + 1]);
    require(unpickler.object(system.items[i]).text != "little_endian" || value.integer != 0, kUnsupported,
            "{} was written on a big-endian machine, which is not supported; save it again on a "
            "little-endian one",
            where);
  }
  const Object top = unpickler.run();
  LegacyFile result;
  const Object& keys = unpickler.run();
  require(keys.kind == Kind::list, "{}: the list of storages is missing", where);
  for (const uint32_t key : keys.items) {
    const Object& text = unpickler.object(key);
    require(text.kind == Kind::text, "{}: a storage's key is no text", where);
    result.keys.emplace_back(text.text);
  }
  result.data_start = unpickler.position();
  result.contents = unpickler.take_state_dict(top);
  return result;
}

}  // namespace outliers::io
