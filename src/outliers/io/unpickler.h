// An interpreter of pickle opcodes (Python's Lib/pickletools.py) that builds plain values, and tensors by the
// calls that torch writes. Its steps stand in unpickler.cpp, what torch's calls mean in pickle.cpp.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "outliers/core/error.h"
#include "outliers/io/pickle.h"

namespace outliers::io::pickle {

inline constexpr size_t kMaxObjects = size_t{1} << 22;  // a state dict has some twenty a tensor

/// What a pickle may name.
enum class Name { ordered_dict, size, tensor, tensor_v2, tensor_v3, parameter, storage_type, dtype };

struct Known {
  std::string_view name;
  Name kind;
  std::string_view encoding = {};  // of storage types and dtypes; empty for bytes without a type
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

}  // namespace outliers::io::pickle
