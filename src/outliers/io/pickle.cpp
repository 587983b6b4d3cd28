#include "outliers/io/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "outliers/core/error.h"
#include "outliers/core/shape.h"

namespace outliers::io {
namespace {

constexpr size_t kMaxObjects = size_t{1} << 22;  // a state dict has some twenty a tensor
constexpr size_t kMaxDimensions = 64;

/// What a pickle may name.
enum class Name { ordered_dict, size, tensor, tensor_v2, tensor_v3, parameter, storage_type, dtype };

struct Known {
  std::string_view name;
  Name kind;
  std::string_view encoding = {};  // of storage types and dtypes; empty for bytes without a type
};

constexpr Known kKnown[] = {
    {"collections.OrderedDict", Name::ordered_dict},
    {"torch.Size", Name::size},
    {"torch._utils._rebuild_tensor", Name::tensor},
    {"torch._utils._rebuild_tensor_v2", Name::tensor_v2},
    {"torch._utils._rebuild_tensor_v3", Name::tensor_v3},
    {"torch._utils._rebuild_parameter", Name::parameter},
    {"torch._utils._rebuild_parameter_with_state", Name::parameter},
    {"torch.DoubleStorage", Name::storage_type, "F64"},
    {"torch.FloatStorage", Name::storage_type, "F32"},
    {"torch.HalfStorage", Name::storage_type, "F16"},
    {"torch.BFloat16Storage", Name::storage_type, "BF16"},
    {"torch.LongStorage", Name::storage_type, "I64"},
    {"torch.IntStorage", Name::storage_type, "I32"},
    {"torch.ShortStorage", Name::storage_type, "I16"},
    {"torch.CharStorage", Name::storage_type, "I8"},
    {"torch.ByteStorage", Name::storage_type, "U8"},
    {"torch.BoolStorage", Name::storage_type, "BOOL"},
    {"torch.UntypedStorage", Name::storage_type},
    {"torch.storage.UntypedStorage", Name::storage_type},
    {"torch.float8_e4m3fn", Name::dtype, "F8_E4M3"},
    {"torch.float8_e5m2", Name::dtype, "F8_E5M2"},
    {"torch.uint16", Name::dtype, "U16"},
    {"torch.uint32", Name::dtype, "U32"},
    {"torch.uint64", Name::dtype, "U64"},
};

enum class Kind : uint8_t { none, boolean, integer, real, text, tuple, list, dict, name, storage, tensor };

/// A value. Values refer to each other by number, so nothing here recurses, however deep a pickle nests.
struct Object {
  Kind kind = Kind::none;
  int64_t integer = 0;               // boolean, integer; number of the storage or tensor
  std::string_view text = {};        // text; the bytes of an integer that is too long
  std::vector<uint32_t> items = {};  // tuple, list; dict: key, value, key, value, ...
  const Known* name = nullptr;
};

struct StorageView {
  size_t storage;
  const Encoding* encoding;  // nullptr for bytes without a type
  int64_t offset, elements;
};

class Unpickler {
 public:
  Unpickler(std::span<const uint8_t> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  /// Interprets one pickle from the current position to its STOP.
  const Object& run();
  size_t position() const { return position_; }
  const Object& object(uint32_t number) const { return objects_[number]; }
  /// The state dict among what `top` holds.
  Unpickled take_state_dict(const Object& top);

 private:
  [[noreturn]] void malformed(std::string_view what) const {
    fail("{}: the pickle is damaged: {} at byte {}", where_, what, position_);
  }

  template <typename T>
  T read() {
    if (bytes_.size() - position_ < sizeof(T)) malformed("it ends early");
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof value);
    position_ += sizeof value;
    return value;
  }
  std::string_view read_text(uint64_t length) {
    if (length > bytes_.size() - position_) malformed("it ends early");
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + position_, length);
    position_ += length;
    return text;
  }
  std::string_view read_line() {
    const auto* begin = bytes_.data() + position_;
    const auto* end = static_cast<const uint8_t*>(std::memchr(begin, '\n', bytes_.size() - position_));
    if (end == nullptr) malformed("it ends early");
    const std::string_view line = read_text(static_cast<uint64_t>(end - begin));
    ++position_;
    return line;
  }

  uint32_t make(Object object) {
    require(objects_.size() < kMaxObjects, "{}: the pickle has more than {} objects; no checkpoint has",
            where_, kMaxObjects);
    objects_.push_back(std::move(object));
    return static_cast<uint32_t>(objects_.size() - 1);
  }
  void push(Object object) { stack_.push_back(make(std::move(object))); }
  void push_integer(int64_t value) { push({.kind = Kind::integer, .integer = value}); }
  void push_text(std::string_view text) { push({.kind = Kind::text, .text = text}); }
  uint32_t pop() {
    if (stack_.size() <= floor()) malformed("it takes more than it gives");
    const uint32_t number = stack_.back();
    stack_.pop_back();
    return number;
  }
  uint32_t top() {
    if (stack_.size() <= floor()) malformed("it takes more than it gives");
    return stack_.back();
  }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::vector<uint32_t> pop_mark() {
    if (marks_.empty()) malformed("a mark is missing");
    std::vector<uint32_t> items(stack_.begin() + static_cast<int64_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  void push_tuple(std::vector<uint32_t> items) { push({.kind = Kind::tuple, .items = std::move(items)}); }
  void push_tuple(size_t count) {
    std::vector<uint32_t> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    push_tuple(std::move(items));
  }
  void memoize(uint64_t number) {
    memo_[number] = top();
    require(memo_.size() <= kMaxObjects, "{}: the pickle keeps more than {} objects; no checkpoint does",
            where_, kMaxObjects);
  }
  void recall(uint64_t number) {
    const auto found = memo_.find(number);
    if (found == memo_.end()) malformed("it recalls what it never kept");
    stack_.push_back(found->second);
  }
  void extend(Kind kind, const std::vector<uint32_t>& items) {
    Object& target = objects_[top()];
    if (target.kind != kind || (kind == Kind::dict && items.size() % 2 != 0))
      malformed("items have no container");
    target.items.insert(target.items.end(), items.begin(), items.end());
  }
  void push_long(uint64_t length);
  void push_name(std::string_view module, std::string_view name);

  const Object& item(const Object& tuple, size_t i, Kind kind, const char* what) const {
    if (i >= tuple.items.size() || objects_[tuple.items[i]].kind != kind) malformed(what);
    return objects_[tuple.items[i]];
  }
  std::vector<int64_t> sizes(const Object& tuple) const;
  void persistent_id();
  void reduce();
  void build();
  void rebuild_tensor(const Object& arguments, bool third);

  std::span<const uint8_t> bytes_;
  const std::string& where_;
  size_t position_ = 0;
  std::vector<Object> objects_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, uint32_t> memo_;
  std::vector<PickledStorage> storages_;
  std::unordered_map<std::string, size_t> storage_of_key_;
  std::vector<StorageView> views_;
  std::vector<PickledTensor> tensors_;
};

void Unpickler::push_long(uint64_t length) {
  const std::string_view raw = read_text(length);
  Object object{.kind = Kind::integer, .text = raw};
  if (raw.size() <= 8) {
    uint64_t value = !raw.empty() && (raw.back() & 0x80) != 0 ? ~uint64_t{0} : 0;
    std::memcpy(&value, raw.data(), raw.size());
    object.integer = static_cast<int64_t>(value);
    object.text = {};
  }
  push(std::move(object));
}

void Unpickler::push_name(std::string_view module, std::string_view name) {
  const std::string full = fmt::format("{}.{}", module, name);
  const auto* known =
      std::find_if(std::begin(kKnown), std::end(kKnown), [&](const Known& k) { return k.name == full; });
  require(known != std::end(kKnown),
          "{}: the pickle names {}, which is no part of a tensor that can be read here; nothing of it was "
          "executed. If you trust the file, save its tensors as safetensors",
          where_, printable(full));
  push({.kind = Kind::name, .name = known});
}

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

void Unpickler::reduce() {
  const uint32_t arguments_number = pop(), function_number = pop();
  if (objects_[function_number].kind != Kind::name || objects_[arguments_number].kind != Kind::tuple)
    malformed("a call of what is no function");
  const Known& function = *objects_[function_number].name;
  switch (function.kind) {
    case Name::ordered_dict:
      if (!objects_[arguments_number].items.empty()) malformed("an OrderedDict with arguments");
      return push({.kind = Kind::dict});
    case Name::size: {
      item(objects_[arguments_number], 0, Kind::tuple, "a torch.Size of no tuple");
      const uint32_t inner = objects_[arguments_number].items[0];
      stack_.push_back(inner);
      return;
    }
    case Name::tensor:
    case Name::tensor_v2:
      return rebuild_tensor(objects_[arguments_number], false);
    case Name::tensor_v3:
      return rebuild_tensor(objects_[arguments_number], true);
    case Name::parameter: {
      item(objects_[arguments_number], 0, Kind::tensor, "a parameter of no tensor");
      const uint32_t inner = objects_[arguments_number].items[0];
      stack_.push_back(inner);
      return;
    }
    case Name::storage_type:
    case Name::dtype:
      malformed(fmt::format("a call of {}", function.name));
  }
}

// The attributes of an OrderedDict (state_dict()'s _metadata) say nothing about its tensors.
void Unpickler::build() {
  pop();
  if (objects_[top()].kind != Kind::dict) malformed("attributes of what has none");
}

const Object& Unpickler::run() {
  stack_.clear();
  marks_.clear();
  memo_.clear();
  for (;;) {
    const auto opcode = read<uint8_t>();
    switch (opcode) {
      case 0x80: {  // PROTO
        const auto version = read<uint8_t>();
        require(version >= 2 && version <= 5, "{}: pickle protocol {} is not known", where_, version);
        break;
      }
      case 0x95:  // FRAME
        read<uint64_t>();
        break;
      case '.': {  // STOP
        const uint32_t result = pop();
        if (!stack_.empty() || !marks_.empty()) malformed("it leaves something over");
        return objects_[result];
      }
      case '(':  // MARK
        marks_.push_back(stack_.size());
        break;
      case '0':  // POP
        if (stack_.size() == floor() && !marks_.empty())
          marks_.pop_back();
        else
          pop();
        break;
      case '1':  // POP_MARK
        pop_mark();
        break;
      case 'N':
        push({});
        break;
      case 0x88:
      case 0x89:
        push({.kind = Kind::boolean, .integer = opcode == 0x88});
        break;
      case 'J':
        push_integer(read<int32_t>());
        break;
      case 'K':
        push_integer(read<uint8_t>());
        break;
      case 'M':
        push_integer(read<uint16_t>());
        break;
      case 0x8a:  // LONG1
        push_long(read<uint8_t>());
        break;
      case 0x8b:  // LONG4; as signed: a negative length is far too long
        push_long(read<uint32_t>());
        break;
      case 'G':  // BINFLOAT
        read<uint64_t>();
        push({.kind = Kind::real});
        break;
      case 'X':  // BINUNICODE, and the strings of Python 2
      case 'T':
      case 'B':
        push_text(read_text(read<uint32_t>()));
        break;
      case 0x8c:
      case 'U':
      case 'C':
        push_text(read_text(read<uint8_t>()));
        break;
      case 0x8d:
      case 0x8e:
        push_text(read_text(read<uint64_t>()));
        break;
      case '}':
        push({.kind = Kind::dict});
        break;
      case ']':
        push({.kind = Kind::list});
        break;
      case ')':
        push({.kind = Kind::tuple});
        break;
      case 't':
        push_tuple(pop_mark());
        break;
      case 0x85:
      case 0x86:
      case 0x87:
        push_tuple(size_t{opcode} - 0x84);
        break;
      case 'a': {  // APPEND
        const uint32_t value = pop();
        extend(Kind::list, {value});
        break;
      }
      case 'e':  // APPENDS
        extend(Kind::list, pop_mark());
        break;
      case 's': {  // SETITEM
        const uint32_t value = pop(), key = pop();
        extend(Kind::dict, {key, value});
        break;
      }
      case 'u':  // SETITEMS
        extend(Kind::dict, pop_mark());
        break;
      case 'q':
        memoize(read<uint8_t>());
        break;
      case 'r':
        memoize(read<uint32_t>());
        break;
      case 0x94:
        memoize(memo_.size());
        break;
      case 'h':
        recall(read<uint8_t>());
        break;
      case 'j':
        recall(read<uint32_t>());
        break;
      case 'c':    // GLOBAL
      case 'i': {  // INST: a GLOBAL that is called at once, which is nothing that torch writes
        const std::string_view module = read_line(), name = read_line();
        push_name(module, name);
        if (opcode == 'i') malformed("a call that torch does not write");
        break;
      }
      case 0x93: {  // STACK_GLOBAL
        const uint32_t name = pop(), module = pop();
        if (objects_[name].kind != Kind::text || objects_[module].kind != Kind::text)
          malformed("a name that is no text");
        push_name(objects_[module].text, objects_[name].text);
        break;
      }
      case 'R':
        reduce();
        break;
      case 'b':
        build();
        break;
      case 'Q':
        persistent_id();
        break;
      default:
        fail(
            "{}: the pickle has opcode 0x{:02x} at byte {}, which no state dict needs; nothing of it was "
            "executed",
            where_, opcode, position_ - 1);
    }
  }
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

}  // namespace

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
  require(version.kind == Kind::integer && version.integer == 1001,
          "{}: version {} of torch.save is not known", where, version.integer);
  const Object& system = unpickler.run();
  for (size_t i = 0; system.kind == Kind::dict && i < system.items.size(); i += 2) {
    const Object& value = unpickler.object(system.items[i + 1]);
    require(unpickler.object(system.items[i]).text != "little_endian" || value.integer != 0,
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
