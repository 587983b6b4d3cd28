// A tokenizer's spellings: id -> text and back.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "outliers/text/flat_map.h"

namespace outliers::text {

/// Token spellings by id, in one arena. Ids without a spelling hold "".
class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  /// `size` ids, `bytes` of text in all; then set() each, then index().
  void reserve(size_t size, size_t bytes);
  void set(int32_t id, std::string_view piece);
  /// Builds the look-up table of the ids that were set; of equal spellings the last id wins.
  void index();

  int32_t find(std::string_view piece) const { return index_.find(pieces_, piece); }
  std::string_view piece(int32_t id) const { return pieces_[static_cast<size_t>(id)]; }
  size_t size() const { return pieces_.size(); }     ///< largest id + 1
  size_t count() const { return count_; }            ///< ids that have a spelling
  size_t longest_bytes() const { return longest_; }  ///< of a spelling
  const std::vector<std::string_view>& pieces() const { return pieces_; }

 private:
  std::vector<char> arena_;
  size_t used_ = 0, longest_ = 0, count_ = 0;
  std::vector<std::string_view> pieces_;
  std::vector<bool> set_;
  StringIndex index_;
};

}  // namespace outliers::text
