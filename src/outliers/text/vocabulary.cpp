#include "outliers/text/vocabulary.h"

#include <algorithm>

#include "outliers/core/error.h"

namespace outliers::text {

void Vocabulary::reserve(size_t size, size_t bytes) {
  require(size < (1u << 26), "a vocabulary of {} tokens is larger than any that exists", size);
  arena_.resize(bytes);
  pieces_.assign(size, std::string_view());
  set_.assign(size, false);
}

void Vocabulary::set(int32_t id, std::string_view piece) {
  std::copy(piece.begin(), piece.end(), arena_.begin() + static_cast<ptrdiff_t>(used_));
  pieces_[static_cast<size_t>(id)] = std::string_view(arena_.data() + used_, piece.size());
  set_[static_cast<size_t>(id)] = true;
  used_ += piece.size();
  longest_ = std::max(longest_, piece.size());
}

void Vocabulary::index() {
  count_ = static_cast<size_t>(std::count(set_.begin(), set_.end(), true));
  index_.reserve(count_);
  for (size_t id = 0; id < pieces_.size(); ++id) {
    if (set_[id]) index_.insert(pieces_, static_cast<int32_t>(id));
  }
}

}  // namespace outliers::text
