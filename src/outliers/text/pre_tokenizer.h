// Pre-tokenisers: cut a normalised segment into the pieces within which the model merges.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/text/regex.h"

namespace outliers::text {

struct Span {
  size_t begin, end;
};

/// A segment's text and the pieces it is cut into, in order and without gaps that matter.
struct Pieces {
  std::string text;
  std::vector<Span> spans;
  bool at_start = true;  ///< the text's first character is the input's first
  /// The pieces are bytes still to be spelled in the byte alphabet; set by a final ByteLevel, so that the
  /// word cache can look at the plain bytes.
  bool raw_bytes = false;

  std::string_view view(const Span& span) const {
    return std::string_view(text).substr(span.begin, span.end - span.begin);
  }
};

/// What becomes of the matches of a split.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// `last`: no step follows, so a spelling in bytes may be left to the model.
  virtual void apply(Pieces& pieces, bool last) const = 0;
};
using PreTokenizerPtr = std::unique_ptr<PreTokenizer>;

PreTokenizerPtr make_split(Regex regex, SplitBehavior behavior, bool invert);
PreTokenizerPtr make_split(std::string literal, SplitBehavior behavior, bool invert);
/// Splits at single characters.
PreTokenizerPtr make_character_split(bool (*matches)(char32_t), SplitBehavior behavior);
PreTokenizerPtr make_whitespace();  ///< \w+|[^\w\s]+
PreTokenizerPtr make_byte_level(bool add_prefix_space, bool use_regex);

enum class PrependScheme { always, first, never };
PreTokenizerPtr make_metaspace(std::string replacement, PrependScheme scheme, bool split);
PreTokenizerPtr make_fixed_length(size_t characters);
PreTokenizerPtr make_sequence(std::vector<PreTokenizerPtr> steps);

}  // namespace outliers::text
