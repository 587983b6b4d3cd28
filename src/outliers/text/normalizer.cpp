// Each normaliser follows the behaviour of its namesake in Hugging Face `tokenizers`, SentencePiece that of
// the sentencepiece program.
#include "outliers/text/normalizer.h"

#include <utility>

namespace outliers::text {
namespace {

class Form final : public Normalizer {
 public:
  explicit Form(NormalForm form) : form_(form) {}
  void apply(Segment& segment) const override { segment.text = normal_form(segment.text, form_); }

 private:
  NormalForm form_;
};

class Lowercase final : public Normalizer {
 public:
  void apply(Segment& segment) const override { segment.text = lowercase(segment.text); }
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(Segment& segment) const override {
    std::string& text = segment.text;
    if (left_) {
      size_t begin = 0;
      for (size_t next = 0; next < text.size(); begin = next) {
        if (!is_white_space(next_code_point(text, next))) break;
      }
      if (begin > 0) segment.at_start = false;
      text.erase(0, begin);
    }
    while (right_ && !text.empty() && is_white_space(last_code_point(text))) {
      while ((static_cast<unsigned char>(text.back()) & 0xc0) == 0x80) text.pop_back();
      text.pop_back();
    }
  }

 private:
  bool left_, right_;
};

// Keeps, drops or maps single characters.
template <typename Map>
void map_characters(Segment& segment, Map map) {
  std::string out;
  out.reserve(segment.text.size());
  for (size_t i = 0; i < segment.text.size();) {
    const size_t begin = i;
    const char32_t point = next_code_point(segment.text, i);
    const char32_t mapped = map(point);
    if (mapped == point) {
      out.append(segment.text, begin, i - begin);
    } else if (mapped != 0) {
      append_utf8(out, mapped);
    } else if (begin == 0) {
      segment.at_start = false;
    }
  }
  segment.text = std::move(out);
}

class StripAccents final : public Normalizer {
 public:
  void apply(Segment& segment) const override {
    map_characters(segment, [](char32_t c) { return is_mark(c) ? char32_t{0} : c; });
  }
};

class Nmt final : public Normalizer {
 public:
  void apply(Segment& segment) const override {
    map_characters(segment, [](char32_t c) -> char32_t {
      if ((c >= 0x01 && c <= 0x08) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f || c == 0x8f ||
          c == 0x9f) {
        return 0;
      }
      const bool space = c == 0x09 || c == 0x0a || c == 0x0c || c == 0x0d || c == 0x1680 ||
                         (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                         c == 0xfeff || c == 0xfffd;
      return space ? U' ' : c;
    });
  }
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(Segment& segment) const override {
    if (!segment.text.empty()) segment.text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class Replace final : public Normalizer {
 public:
  Replace(std::string literal, std::optional<Regex> regex, std::string content)
      : literal_(std::move(literal)), regex_(std::move(regex)), content_(std::move(content)) {}
  void apply(Segment& segment) const override {
    if (content_.empty() && segment.at_start) {
      const size_t first = regex_
                               ? regex_->find(segment.text, 0).value_or(std::pair<size_t, size_t>(1, 1)).first
                               : segment.text.find(literal_);
      if (first == 0) segment.at_start = false;
    }
    segment.text = replace_all(segment.text, literal_, regex_, content_);
  }

 private:
  std::string literal_;
  std::optional<Regex> regex_;
  std::string content_;
};

class SpellBytes final : public Normalizer {
 public:
  void apply(Segment& segment) const override { segment.text = spell_bytes(segment.text); }
};

class Precompiled final : public Normalizer {
 public:
  explicit Precompiled(Charsmap charsmap) : charsmap_(std::move(charsmap)) {}
  void apply(Segment& segment) const override {
    const std::string& text = segment.text;
    std::string out;
    out.reserve(text.size());
    const auto replace = [&](std::string_view part) {
      const auto match = charsmap_.shortest(part);
      // A key that begins the part stands for all of it: tokenizers does so.
      if (match) out += match->replacement;
      return match.has_value();
    };
    for (size_t at = 0; at < text.size();) {
      const std::string_view cluster = std::string_view(text).substr(at, grapheme_length(text, at));
      constexpr size_t longest_cluster = 5;
      if (cluster.size() > longest_cluster || !replace(cluster)) {
        for (size_t i = 0; i < cluster.size(); i += sequence_length(cluster[i])) {
          const std::string_view character = cluster.substr(i, sequence_length(cluster[i]));
          if (!replace(character)) out += character;
        }
      }
      if (at == 0 && out.empty()) segment.at_start = false;
      at += cluster.size();
    }
    segment.text = std::move(out);
  }

 private:
  Charsmap charsmap_;
};

class SentencePiece final : public Normalizer {
 public:
  explicit SentencePiece(SentencePieceRules rules) : rules_(std::move(rules)) {
    for (const std::string& symbol : rules_.verbatim) verbatim_.add(symbol, 0);
  }

  void apply(Segment& segment) const override {
    const std::string& text = segment.text;
    const std::string_view space = rules_.escape_whitespaces ? "▁" : " ";
    size_t at = 0;
    if (rules_.remove_extra_whitespaces) {
      while (at < text.size()) {
        const auto [length, replacement] = next(text, at);
        if (replacement != " ") break;
        at += length;
      }
    }
    std::string out;
    const bool prefix = rules_.add_dummy_prefix && at < text.size();
    out.reserve((text.size() - at) * 3 / 2 + space.size());
    if (prefix && !rules_.treat_whitespace_as_suffix) out += space;
    bool skip_spaces = rules_.remove_extra_whitespaces;
    while (at < text.size()) {
      auto [length, replacement] = next(text, at);
      at += length;
      while (skip_spaces && replacement.starts_with(' ')) replacement.remove_prefix(1);
      for (const char c : replacement) {
        if (c == ' ') {
          out += space;
        } else {
          out += c;
        }
      }
      if (rules_.remove_extra_whitespaces && !replacement.empty()) skip_spaces = replacement.ends_with(' ');
    }
    while (rules_.remove_extra_whitespaces && out.ends_with(space)) out.resize(out.size() - space.size());
    if (prefix && rules_.treat_whitespace_as_suffix) out += space;
    segment.text = std::move(out);
  }

 private:
  // What stands at `at`, and what it becomes.
  Charsmap::Match next(std::string_view text, size_t at) const {
    size_t length = 0;
    if (verbatim_.longest(text, at, length) != ByteTrie::none) return {length, text.substr(at, length)};
    if (rules_.charsmap) {
      if (const auto match = rules_.charsmap->longest(text, at)) return *match;
    }
    length = sequence_length(text[at]);
    return {length, text.substr(at, length)};
  }

  SentencePieceRules rules_;
  ByteTrie verbatim_;
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<NormalizerPtr> steps) : steps_(std::move(steps)) {}
  void apply(Segment& segment) const override {
    for (const auto& step : steps_) step->apply(segment);
  }

 private:
  std::vector<NormalizerPtr> steps_;
};

}  // namespace

std::string replace_all(std::string_view text, std::string_view literal, const std::optional<Regex>& regex,
                        std::string_view content) {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  if (regex) {
    for (size_t from = 0; from <= text.size();) {
      const auto match = regex->find(text, from);
      if (!match) break;
      out.append(text, done, match->first - done);
      out += content;
      done = match->second;
      from = match->second;
      if (match->first == match->second) from += from < text.size() ? sequence_length(text[from]) : 1;
    }
  } else if (!literal.empty()) {
    for (size_t at = text.find(literal); at != std::string_view::npos; at = text.find(literal, done)) {
      out.append(text, done, at - done);
      out += content;
      done = at + literal.size();
    }
  }
  out.append(text, done);
  return out;
}

NormalizerPtr make_normal_form(NormalForm form) {
  return std::make_unique<Form>(form);
}
NormalizerPtr make_lowercase() {
  return std::make_unique<Lowercase>();
}
NormalizerPtr make_strip(bool left, bool right) {
  return std::make_unique<Strip>(left, right);
}
NormalizerPtr make_strip_accents() {
  return std::make_unique<StripAccents>();
}
NormalizerPtr make_prepend(std::string prefix) {
  return std::make_unique<Prepend>(std::move(prefix));
}
NormalizerPtr make_replace(std::string literal, std::optional<Regex> regex, std::string content) {
  return std::make_unique<Replace>(std::move(literal), std::move(regex), std::move(content));
}
NormalizerPtr make_spell_bytes() {
  return std::make_unique<SpellBytes>();
}
NormalizerPtr make_nmt() {
  return std::make_unique<Nmt>();
}
NormalizerPtr make_precompiled(Charsmap charsmap) {
  return std::make_unique<Precompiled>(std::move(charsmap));
}
NormalizerPtr make_sentencepiece(SentencePieceRules rules) {
  return std::make_unique<SentencePiece>(std::move(rules));
}
NormalizerPtr make_sequence(std::vector<NormalizerPtr> steps) {
  return std::make_unique<Sequence>(std::move(steps));
}

}  // namespace outliers::text
