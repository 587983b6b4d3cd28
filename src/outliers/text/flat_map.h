// Open-addressing hash tables for vocabularies: 300k strings or 500k pairs are inserted in milliseconds, and
// a look-up touches one cache line of slots. Keys are views into an arena the caller keeps.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace outliers::text {

/// The first `size` (at most 8) bytes at `at` as a number, without reading further.
inline uint64_t load_bytes(const char* at, size_t size) {
  uint64_t word = 0;
  if (size >= 8) {
    std::memcpy(&word, at, 8);
  } else if (size >= 4) {
    uint32_t low, high;
    std::memcpy(&low, at, 4);
    std::memcpy(&high, at + size - 4, 4);
    word = low | static_cast<uint64_t>(high) << (8 * (size - 4));
  } else if (size > 0) {
    const auto byte = [&](size_t i) {
      return static_cast<uint64_t>(static_cast<unsigned char>(at[i])) << (8 * i);
    };
    word = byte(0) | byte(size / 2) | byte(size - 1);
  }
  return word;
}

/// Multiply-and-fold over eight bytes at a time; good spread, no defence against chosen keys.
inline uint64_t hash_bytes(std::string_view bytes) {
  const auto fold = [](uint64_t a, uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  uint64_t hash = 0x9e3779b97f4a7c15u ^ bytes.size();
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left > 8; left -= 8, at += 8) hash = fold(hash ^ load_bytes(at, 8), 0xd6e8feb86659fd93u);
  return fold(hash ^ load_bytes(at, left), 0xa0761d6478bd642fu);
}

/// Strings -> their index in `keys`. Keys of up to eight bytes, most of those asked for, are compared within
/// the slot; for longer ones the slot holds a tag.
class StringIndex {
 public:
  /// Makes room for `count` keys.
  void reserve(size_t count) {
    slots_.assign(std::bit_ceil(count + count / 2 + 2), Slot{0, 0, -1});
    mask_ = slots_.size() - 1;
  }

  /// Maps keys[index] to `index`; an equal key inserted before is replaced. reserve() must have made room.
  void insert(const std::vector<std::string_view>& keys, int32_t index) {
    const std::string_view key = keys[static_cast<size_t>(index)];
    const uint64_t hash = hash_bytes(key);
    slots_[probe(keys, key, hash)] = Slot{load_bytes(key.data(), key.size()), tag_of(key, hash), index};
  }

  /// The index of `key`, or -1.
  int32_t find(const std::vector<std::string_view>& keys, std::string_view key) const {
    if (slots_.empty()) return -1;
    return slots_[probe(keys, key, hash_bytes(key))].index;
  }

 private:
  struct Slot {
    uint64_t head;  // the first eight bytes
    uint32_t tag;
    int32_t index;
  };

  // The length (255 for all longer ones) and bits of the hash.
  static uint32_t tag_of(std::string_view key, uint64_t hash) {
    return static_cast<uint32_t>(hash >> 40) << 8 |
           static_cast<uint32_t>(key.size() < 255 ? key.size() : 255);
  }

  size_t probe(const std::vector<std::string_view>& keys, std::string_view key, uint64_t hash) const {
    const uint64_t head = load_bytes(key.data(), key.size());
    const uint32_t tag = tag_of(key, hash);
    size_t at = hash & mask_;
    for (; slots_[at].index >= 0; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.head == head && slot.tag == tag &&
          (key.size() <= 8 || keys[static_cast<size_t>(slot.index)] == key)) {
        break;
      }
    }
    return at;
  }

  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

/// Pairs of non-negative ids -> (rank, id).
class PairMap {
 public:
  struct Value {
    uint32_t rank;
    int32_t id;
  };

  void reserve(size_t count) {
    slots_.assign(std::bit_ceil(count + count / 2 + 2), Slot{empty, {0, 0}});
    mask_ = slots_.size() - 1;
  }

  /// A pair inserted before is replaced. reserve() must have made room.
  void insert(int32_t left, int32_t right, Value value) {
    const uint64_t key = pack(left, right);
    slots_[probe(key)] = Slot{key, value};
  }

  /// nullptr where there is none.
  const Value* find(int32_t left, int32_t right) const {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[probe(pack(left, right))];
    return slot.key == empty ? nullptr : &slot.value;
  }

 private:
  static constexpr uint64_t empty = ~uint64_t{0};
  struct Slot {
    uint64_t key;
    Value value;
  };

  static uint64_t pack(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t probe(uint64_t key) const {
    size_t at = ((key ^ (key >> 29)) * 0xbf58476d1ce4e5b9u >> 20) & mask_;
    while (slots_[at].key != empty && slots_[at].key != key) at = (at + 1) & mask_;
    return at;
  }

  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

}  // namespace outliers::text
