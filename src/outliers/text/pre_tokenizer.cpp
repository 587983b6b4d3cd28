// Each pre-tokeniser follows the behaviour of its namesake in Hugging Face `tokenizers`. A step either
// refines the spans or rewrites the text; both keep pieces in one buffer.
#include "outliers/text/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "outliers/text/patterns.h"
#include "outliers/text/scanner.h"
#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

struct Match {
  Span span;
  bool matched;
};

// Cuts `inside` into alternating unmatched and matched stretches that cover it.
template <typename Find>
void cover(std::string_view inside, Find find, std::vector<Match>& out) {
  out.clear();
  size_t done = 0;
  for (size_t from = 0; from <= inside.size();) {
    const std::optional<std::pair<size_t, size_t>> match = find(from);
    if (!match) break;
    if (match->first > done) out.push_back({{done, match->first}, false});
    out.push_back({{match->first, match->second}, true});
    done = match->second;
    from = match->second;
    if (match->first == match->second) from += from < inside.size() ? sequence_length(inside[from]) : 1;
  }
  if (done < inside.size()) out.push_back({{done, inside.size()}, false});
}

// Applies a behaviour to the stretches of one piece that begins at `base`; empty pieces vanish.
void emit(const std::vector<Match>& matches, SplitBehavior behavior, size_t base, std::vector<Span>& out) {
  const size_t first = out.size();
  const auto push = [&](const Span& span) { out.push_back({base + span.begin, base + span.end}); };
  bool previous = false;
  switch (behavior) {
    case SplitBehavior::removed:
      for (const Match& match : matches) {
        if (!match.matched) push(match.span);
      }
      break;
    case SplitBehavior::isolated:
      for (const Match& match : matches) push(match.span);
      break;
    case SplitBehavior::merged_with_previous:
      for (const Match& match : matches) {
        if (match.matched && !previous && out.size() > first) {
          out.back().end = base + match.span.end;
        } else {
          push(match.span);
        }
        previous = match.matched;
      }
      break;
    case SplitBehavior::merged_with_next:
      for (auto match = matches.rbegin(); match != matches.rend(); ++match) {
        if (match->matched && !previous && out.size() > first) {
          out.back().begin = base + match->span.begin;
        } else {
          push(match->span);
        }
        previous = match->matched;
      }
      std::reverse(out.begin() + static_cast<ptrdiff_t>(first), out.end());
      break;
    case SplitBehavior::contiguous:
      for (const Match& match : matches) {
        if (match.matched == previous && out.size() > first) {
          out.back().end = base + match.span.end;
        } else {
          push(match.span);
        }
        previous = match.matched;
      }
      break;
  }
  out.erase(std::remove_if(out.begin() + static_cast<ptrdiff_t>(first), out.end(),
                           [](const Span& span) { return span.begin == span.end; }),
            out.end());
}

// Refines every piece; `find_in(piece, from)` gives the next match.
template <typename FindIn>
void split(Pieces& pieces, SplitBehavior behavior, bool invert, FindIn find_in) {
  std::vector<Span> out;
  out.reserve(pieces.spans.size() + pieces.text.size() / 5);
  std::vector<Match> matches;
  for (const Span& span : pieces.spans) {
    const std::string_view inside = pieces.view(span);
    cover(
        inside, [&](size_t from) { return find_in(inside, from); }, matches);
    if (invert) {
      for (Match& match : matches) match.matched = !match.matched;
    }
    emit(matches, behavior, span.begin, out);
  }
  pieces.spans = std::move(out);
}

// Rewrites every piece: `rewrite(piece, is_at_start, out)` appends its new text.
template <typename Rewrite>
void rewrite_pieces(Pieces& pieces, Rewrite rewrite) {
  std::string text;
  text.reserve(pieces.text.size() + pieces.text.size() / 4);
  for (Span& span : pieces.spans) {
    const size_t begin = text.size();
    rewrite(pieces.view(span), pieces.at_start && span.begin == 0, text);
    span = {begin, text.size()};
  }
  pieces.text = std::move(text);
}

using Found = std::optional<std::pair<size_t, size_t>>;

class RegexSplit final : public PreTokenizer {
 public:
  RegexSplit(Regex regex, SplitBehavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}
  void apply(Pieces& pieces, bool) const override {
    split(pieces, behavior_, invert_,
          [this](std::string_view inside, size_t from) { return regex_.find(inside, from); });
  }

 private:
  Regex regex_;
  SplitBehavior behavior_;
  bool invert_;
};

class ScannerSplit final : public PreTokenizer {
 public:
  explicit ScannerSplit(Scan scan) : scan_(scan) {}
  void apply(Pieces& pieces, bool) const override {
    std::vector<Span> out;
    out.reserve(pieces.spans.size() + pieces.text.size() / 4);
    for (const Span& span : pieces.spans) scan_(pieces.view(span), span.begin, out);
    pieces.spans = std::move(out);
  }

 private:
  Scan scan_;
};

class LiteralSplit final : public PreTokenizer {
 public:
  LiteralSplit(std::string literal, SplitBehavior behavior, bool invert)
      : literal_(std::move(literal)), behavior_(behavior), invert_(invert) {}
  void apply(Pieces& pieces, bool) const override {
    split(pieces, behavior_, invert_, [this](std::string_view inside, size_t from) -> Found {
      if (literal_.empty()) return std::nullopt;
      const size_t at = inside.find(literal_, from);
      if (at == std::string_view::npos) return std::nullopt;
      return std::pair(at, at + literal_.size());
    });
  }

 private:
  std::string literal_;
  SplitBehavior behavior_;
  bool invert_;
};

class CharacterSplit final : public PreTokenizer {
 public:
  CharacterSplit(bool (*matches)(char32_t), SplitBehavior behavior)
      : matches_(matches), behavior_(behavior) {}
  void apply(Pieces& pieces, bool) const override {
    split(pieces, behavior_, false, [this](std::string_view inside, size_t from) -> Found {
      for (size_t at = from; at < inside.size();) {
        const size_t begin = at;
        if (matches_(next_code_point(inside, at))) return std::pair(begin, at);
      }
      return std::nullopt;
    });
  }

 private:
  bool (*matches_)(char32_t);
  SplitBehavior behavior_;
};

class Whitespace final : public PreTokenizer {
 public:
  void apply(Pieces& pieces, bool) const override {
    split(pieces, SplitBehavior::removed, true, [](std::string_view inside, size_t from) -> Found {
      const auto kind = [](char32_t c) { return is_word(c) ? 1 : is_white_space(c) ? 0 : 2; };
      size_t at = from, begin = from;
      int run = 0;
      while (at < inside.size()) {
        const size_t here = at;
        const int now = kind(next_code_point(inside, at));
        if (run == 0) {
          begin = here;
          run = now;
        } else if (now != run) {
          return std::pair(begin, here);
        }
      }
      if (run == 0) return std::nullopt;
      return std::pair(begin, inside.size());
    });
  }
};

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex) : add_prefix_space_(add_prefix_space) {
    if (use_regex) split_ = make_split(Regex(gpt2_pattern), SplitBehavior::isolated, false);
  }
  void apply(Pieces& pieces, bool last) const override {
    if (add_prefix_space_) {
      rewrite_pieces(pieces, [](std::string_view piece, bool, std::string& out) {
        if (!piece.starts_with(' ')) out += ' ';
        out += piece;
      });
    }
    if (split_) split_->apply(pieces, false);
    if (last) {
      pieces.raw_bytes = true;
    } else {
      rewrite_pieces(pieces,
                     [](std::string_view piece, bool, std::string& out) { out += spell_bytes(piece); });
    }
  }

 private:
  bool add_prefix_space_;
  PreTokenizerPtr split_;
};

class Metaspace final : public PreTokenizer {
 public:
  Metaspace(std::string replacement, PrependScheme scheme, bool split_words)
      : replacement_(std::move(replacement)), scheme_(scheme) {
    if (split_words) split_ = make_split(replacement_, SplitBehavior::merged_with_next, false);
  }
  void apply(Pieces& pieces, bool) const override {
    rewrite_pieces(pieces, [this](std::string_view piece, bool at_start, std::string& out) {
      const bool marked = piece.starts_with(' ') || piece.starts_with(replacement_);
      if (!marked && (scheme_ == PrependScheme::always || (scheme_ == PrependScheme::first && at_start))) {
        out += replacement_;
      }
      for (const char c : piece) {
        if (c == ' ') {
          out += replacement_;
        } else {
          out += c;
        }
      }
    });
    if (split_) split_->apply(pieces, false);
  }

 private:
  std::string replacement_;
  PrependScheme scheme_;
  PreTokenizerPtr split_;
};

class FixedLength final : public PreTokenizer {
 public:
  explicit FixedLength(size_t characters) : characters_(characters) {}
  void apply(Pieces& pieces, bool) const override {
    split(pieces, SplitBehavior::isolated, false, [this](std::string_view inside, size_t from) -> Found {
      if (from == inside.size()) return std::nullopt;
      size_t at = from;
      for (size_t i = 0; i < characters_ && at < inside.size(); ++i) at += sequence_length(inside[at]);
      return std::pair(from, at);
    });
  }

 private:
  size_t characters_;
};

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(std::vector<PreTokenizerPtr> steps) : steps_(std::move(steps)) {}
  void apply(Pieces& pieces, bool last) const override {
    for (size_t i = 0; i < steps_.size(); ++i) steps_[i]->apply(pieces, last && i + 1 == steps_.size());
  }

 private:
  std::vector<PreTokenizerPtr> steps_;
};

}  // namespace

PreTokenizerPtr make_split(Regex regex, SplitBehavior behavior, bool invert) {
  const Scan scan = behavior == SplitBehavior::isolated && !invert ? find_scanner(regex.pattern()) : nullptr;
  if (scan) return std::make_unique<ScannerSplit>(scan);
  return std::make_unique<RegexSplit>(std::move(regex), behavior, invert);
}
PreTokenizerPtr make_split(std::string literal, SplitBehavior behavior, bool invert) {
  return std::make_unique<LiteralSplit>(std::move(literal), behavior, invert);
}
PreTokenizerPtr make_character_split(bool (*matches)(char32_t), SplitBehavior behavior) {
  return std::make_unique<CharacterSplit>(matches, behavior);
}
PreTokenizerPtr make_whitespace() {
  return std::make_unique<Whitespace>();
}
PreTokenizerPtr make_byte_level(bool add_prefix_space, bool use_regex) {
  return std::make_unique<ByteLevel>(add_prefix_space, use_regex);
}
PreTokenizerPtr make_metaspace(std::string replacement, PrependScheme scheme, bool split) {
  return std::make_unique<Metaspace>(std::move(replacement), scheme, split);
}
PreTokenizerPtr make_fixed_length(size_t characters) {
  return std::make_unique<FixedLength>(characters);
}
PreTokenizerPtr make_sequence(std::vector<PreTokenizerPtr> steps) {
  return std::make_unique<Sequence>(std::move(steps));
}

}  // namespace outliers::text
