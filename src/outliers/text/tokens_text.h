// The tokens of a text, for people and as JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "outliers/core/export.h"
#include "outliers/text/tokenizer.h"

namespace outliers::text {

/// A row a token: its place, id, piece and text. `width`: the table's columns at most, 0 any number. Throws
/// for ids out of range.
OUTLIERS_API std::string tokens_text(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                                     size_t width);

/// {"ids": [...], "pieces": [...], "tokens": [...]}, indented. A lone byte of a longer character is no UTF-8;
/// JSON gets U+FFFD there.
OUTLIERS_API std::string tokens_json(const Tokenizer& tokenizer, const std::vector<int32_t>& ids);

}  // namespace outliers::text
