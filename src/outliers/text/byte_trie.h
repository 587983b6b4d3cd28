// A trie over bytes with a number at the end of each key. One hash table holds all edges, so that a step
// costs about one cache line whatever the number of keys.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace outliers::text {

class ByteTrie {
 public:
  static constexpr int32_t root = 0, none = -1;

  /// Of equal keys the first keeps its value. `key` is not empty, `value` not negative.
  void add(std::string_view key, int32_t value) {
    int32_t node = root;
    for (const char c : key) {
      const auto byte = static_cast<unsigned char>(c);
      int32_t next = child(node, byte);
      if (next == none) {
        next = static_cast<int32_t>(values_.size());
        values_.push_back(none);
        add_edge(node, byte, next);
      }
      node = next;
    }
    int32_t& end = values_[static_cast<size_t>(node)];
    if (end == none) end = value;
  }

  /// The node behind `byte`, or none.
  int32_t child(int32_t node, unsigned char byte) const {
    if (slots_.empty()) return none;
    const size_t mask = slots_.size() - 1;
    const uint64_t key = pack(node, byte);
    for (size_t at = hash(key) & mask;; at = (at + 1) & mask) {
      if (slots_[at].key == key) return slots_[at].to;
      if (slots_[at].to == none) return none;
    }
  }

  /// The value of the key that ends at `node`, or none.
  int32_t value(int32_t node) const { return values_[static_cast<size_t>(node)]; }

  /// The value of the longest key that `text` has at `at`, or none; `length` gets the key's length.
  int32_t longest(std::string_view text, size_t at, size_t& length) const {
    int32_t found = none, node = root;
    for (size_t i = at; i < text.size(); ++i) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node == none) break;
      if (value(node) != none) {
        found = value(node);
        length = i + 1 - at;
      }
    }
    return found;
  }

 private:
  struct Slot {
    uint64_t key = 0;
    int32_t to = none;  // none: free
  };

  static uint64_t pack(int32_t node, unsigned char byte) { return static_cast<uint64_t>(node) << 8 | byte; }
  static size_t hash(uint64_t key) { return static_cast<size_t>(key * 0x9e3779b97f4a7c15u >> 24); }

  void place(const Slot& slot) {
    const size_t mask = slots_.size() - 1;
    size_t at = hash(slot.key) & mask;
    while (slots_[at].to != none) at = (at + 1) & mask;
    slots_[at] = slot;
  }

  void add_edge(int32_t node, unsigned char byte, int32_t to) {
    if (values_.size() * 2 > slots_.size()) {  // a node has one edge to it, so their numbers agree
      std::vector<Slot> old(std::max<size_t>(64, slots_.size() * 4));
      old.swap(slots_);
      for (const Slot& slot : old) {
        if (slot.to != none) place(slot);
      }
    }
    place({pack(node, byte), to});
  }

  std::vector<int32_t> values_ = {none};
  std::vector<Slot> slots_;
};

}  // namespace outliers::text
