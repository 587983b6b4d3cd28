#include "outliers/text/tokenizer_components.h"

#include "outliers/text/unicode.h"

namespace outliers::text {
namespace {

// {"String": "..."} or {"Regex": "..."}.
struct Pattern {
  std::string literal;
  std::optional<Regex> regex;
};

Pattern read_pattern(const Node& node) {
  node.only({"String", "Regex"});
  Pattern pattern;
  if (const auto literal = node.get("String")) {
    pattern.literal = literal->text();
  } else {
    pattern.regex.emplace(node.at("Regex").text());
  }
  return pattern;
}

SplitBehavior read_behavior(const Node& node) {
  const std::string_view name = node.text();
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  node.refuse(fmt::format("the behaviour \"{}\" is not supported", printable(std::string(name))));
}

PrependScheme read_prepend_scheme(const Node& node) {
  if (const auto scheme = node.get("prepend_scheme")) {
    const std::string_view name = scheme->text();
    if (name == "always") return PrependScheme::always;
    if (name == "first") return PrependScheme::first;
    if (name == "never") return PrependScheme::never;
    scheme->refuse(fmt::format("\"{}\" is not supported", printable(std::string(name))));
  }
  // Files from before prepend_scheme.
  return node.boolean("add_prefix_space", true) ? PrependScheme::always : PrependScheme::never;
}

}  // namespace

NormalizerPtr read_normalizer(const Node& node) {
  const std::string type = node.string("type");
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    node.only({"type"});
    return make_normal_form(type == "NFC"    ? NormalForm::nfc
                            : type == "NFD"  ? NormalForm::nfd
                            : type == "NFKC" ? NormalForm::nfkc
                                             : NormalForm::nfkd);
  }
  if (type == "Lowercase") {
    node.only({"type"});
    return make_lowercase();
  }
  if (type == "StripAccents") {
    node.only({"type"});
    return make_strip_accents();
  }
  if (type == "Nmt") {
    node.only({"type"});
    return make_nmt();
  }
  if (type == "Precompiled") {
    node.only({"type", "precompiled_charsmap"});
    const Node charsmap = node.at("precompiled_charsmap");
    const auto blob = decode_base64(charsmap.text());
    if (!blob) charsmap.refuse("is not base64");
    return make_precompiled(Charsmap(*blob, charsmap.path()));
  }
  if (type == "ByteLevel") {
    node.only({"type"});
    return make_spell_bytes();
  }
  if (type == "Strip") {
    node.only({"type", "strip_left", "strip_right"});
    return make_strip(node.boolean("strip_left"), node.boolean("strip_right"));
  }
  if (type == "Prepend") {
    node.only({"type", "prepend"});
    return make_prepend(node.string("prepend"));
  }
  if (type == "Replace") {
    node.only({"type", "pattern", "content"});
    Pattern pattern = read_pattern(node.at("pattern"));
    return make_replace(std::move(pattern.literal), std::move(pattern.regex), node.string("content"));
  }
  if (type == "Sequence") {
    node.only({"type", "normalizers"});
    std::vector<NormalizerPtr> steps;
    for (const Node& step : node.at("normalizers").items()) steps.push_back(read_normalizer(step));
    return make_sequence(std::move(steps));
  }
  node.refuse_type(type);
}

PreTokenizerPtr read_pre_tokenizer(const Node& node) {
  const std::string type = node.string("type");
  if (type == "Split") {
    node.only({"type", "pattern", "behavior", "invert"});
    Pattern pattern = read_pattern(node.at("pattern"));
    const SplitBehavior behavior = read_behavior(node.at("behavior"));
    const bool invert = node.boolean("invert", false);
    return pattern.regex ? make_split(std::move(*pattern.regex), behavior, invert)
                         : make_split(std::move(pattern.literal), behavior, invert);
  }
  if (type == "ByteLevel") {
    node.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    return make_byte_level(node.boolean("add_prefix_space"), node.boolean("use_regex", true));
  }
  if (type == "Metaspace") {
    node.only({"type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep"});
    return make_metaspace(node.string("replacement"), read_prepend_scheme(node), node.boolean("split", true));
  }
  if (type == "Digits") {
    node.only({"type", "individual_digits"});
    return make_character_split(
        is_numeric, node.boolean("individual_digits") ? SplitBehavior::isolated : SplitBehavior::contiguous);
  }
  if (type == "Punctuation") {
    node.only({"type", "behavior"});
    const auto behavior = node.get("behavior");
    return make_character_split(is_punctuation,
                                behavior ? read_behavior(*behavior) : SplitBehavior::isolated);
  }
  if (type == "Whitespace") {
    node.only({"type"});
    return make_whitespace();
  }
  if (type == "WhitespaceSplit") {
    node.only({"type"});
    return make_character_split(is_white_space, SplitBehavior::removed);
  }
  if (type == "BertPreTokenizer") {
    node.only({"type"});
    std::vector<PreTokenizerPtr> steps;
    steps.push_back(make_character_split(is_white_space, SplitBehavior::removed));
    steps.push_back(make_character_split(is_punctuation, SplitBehavior::isolated));
    return make_sequence(std::move(steps));
  }
  if (type == "CharDelimiterSplit") {
    node.only({"type", "delimiter"});
    return make_split(node.string("delimiter"), SplitBehavior::removed, false);
  }
  if (type == "FixedLength") {
    node.only({"type", "length"});
    return make_fixed_length(static_cast<size_t>(node.at("length").integer(1, id_limit)));
  }
  if (type == "Sequence") {
    node.only({"type", "pretokenizers"});
    std::vector<PreTokenizerPtr> steps;
    for (const Node& step : node.at("pretokenizers").items()) steps.push_back(read_pre_tokenizer(step));
    return make_sequence(std::move(steps));
  }
  node.refuse_type(type);
}

DecoderPtr read_decoder(const Node& node) {
  const std::string type = node.string("type");
  if (type == "ByteLevel") return make_byte_level_decoder();
  if (type == "ByteFallback") return make_byte_fallback_decoder();
  if (type == "Fuse") return make_fuse_decoder();
  if (type == "Replace") {
    Pattern pattern = read_pattern(node.at("pattern"));
    return make_replace_decoder(std::move(pattern.literal), std::move(pattern.regex), node.string("content"));
  }
  if (type == "Strip") {
    return make_strip_decoder(node.string("content"),
                              static_cast<size_t>(node.at("start").integer(0, id_limit)),
                              static_cast<size_t>(node.at("stop").integer(0, id_limit)));
  }
  if (type == "Metaspace")
    return make_metaspace_decoder(node.string("replacement"), read_prepend_scheme(node));
  if (type == "BPEDecoder") return make_bpe_decoder(node.string("suffix", "</w>"));
  if (type == "Sequence") {
    std::vector<DecoderPtr> steps;
    for (const Node& step : node.at("decoders").items()) steps.push_back(read_decoder(step));
    return make_decoder_sequence(std::move(steps));
  }
  node.refuse_type(type);
}

}  // namespace outliers::text
