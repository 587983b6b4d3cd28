// A tokenizer from Hugging Face's tokenizer.json and the files beside it. The reader is strict: a component
// or value that it does not know is an Error with its name, because an ignored one would give other ids in
// silence. Unknown fields, which tokenizers ignores, are warned of; `truncation` is passed over, as
// transformers resets it.
#include <algorithm>
#include <tuple>

#include "outliers/core/error.h"
#include "outliers/text/bpe.h"
#include "outliers/text/json_node.h"
#include "outliers/text/pipeline.h"
#include "outliers/text/tokenizer_class.h"
#include "outliers/text/tokenizer_components.h"
#include "outliers/text/tokenizer_config.h"
#include "outliers/text/tokenizer_sources.h"
#include "outliers/text/unicode.h"
#include "outliers/text/unigram.h"

namespace outliers::text {
namespace {

using simdjson::dom::element;

// Ids around a single text.
struct Frame {
  std::vector<int32_t> before, after;
};

Frame read_template(const Node& node) {
  node.only({"type", "single", "pair", "special_tokens"});
  Frame frame;
  bool behind = false;
  for (const Node& piece : node.at("single").items()) {
    piece.only({"SpecialToken", "Sequence"});
    if (const auto sequence = piece.get("Sequence")) {
      if (behind || sequence->at("id").text() != "A") {
        piece.refuse("a template for one text has the sequence A once and no other");
      }
      behind = true;
      continue;
    }
    const std::string_view name = piece.at("SpecialToken").at("id").text();
    const Node tokens = node.at("special_tokens");
    for (const Node& id : tokens.at(name).at("ids").items()) {
      (behind ? frame.after : frame.before).push_back(static_cast<int32_t>(id.integer(0, id_limit)));
    }
  }
  if (!behind) node.refuse("the template for one text does not contain it");
  return frame;
}

void read_post_processor(const Node& node, Frame& frame) {
  const std::string type = node.string("type");
  if (type == "ByteLevel") return;  // changes offsets only
  if (type == "Sequence") {
    for (const Node& step : node.at("processors").items()) read_post_processor(step, frame);
    return;
  }
  Frame outer;
  if (type == "TemplateProcessing") {
    outer = read_template(node);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    const auto id = [&](const char* key) {
      const auto pair = node.at(key).items();
      if (pair.size() != 2) node.at(key).refuse("is not [token, id]");
      return static_cast<int32_t>(pair[1].integer(0, id_limit));
    };
    outer = {{id("cls")}, {id("sep")}};
  } else {
    node.refuse_type(type);
  }
  frame.before.insert(frame.before.begin(), outer.before.begin(), outer.before.end());
  frame.after.insert(frame.after.end(), outer.after.begin(), outer.after.end());
}

void read_merges(const Node& node, Bpe& model) {
  simdjson::dom::array array;
  if (node.value().get(array) != simdjson::SUCCESS) node.refuse("is not an array");
  size_t count = 0;
  for ([[maybe_unused]] const element merge : array) ++count;
  model.reserve_merges(count);
  size_t number = 0;
  for (const element merge : array) {
    std::string_view line, left, right;
    simdjson::dom::array pair;
    if (merge.get(line) == simdjson::SUCCESS) {
      if (!split_merge(line, left, right))
        node.refuse(fmt::format("merge {} is not two tokens with a space between", number));
    } else if (merge.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
               pair.at(0).get(left) != simdjson::SUCCESS || pair.at(1).get(right) != simdjson::SUCCESS) {
      node.refuse(fmt::format("merge {} is neither a string nor a pair of strings", number));
    }
    if (!model.add_merge(left, right)) {
      node.refuse(fmt::format("merge {}, \"{}\" with \"{}\", names a token that is not in the vocabulary",
                              number, printable(std::string(left)), printable(std::string(right))));
    }
    ++number;
  }
}

std::unique_ptr<Model> read_bpe(const Node& node) {
  node.only({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
             "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (const auto dropout = node.get("dropout")) {
    double share = 0;
    if (dropout->value().get(share) != simdjson::SUCCESS || share != 0) {
      dropout->refuse("dropout makes tokenisation random and is not supported");
    }
  }
  Vocabulary vocabulary = read_json_vocabulary(node.at("vocab"));
  BpeOptions options;
  if (const auto unknown = node.get("unk_token")) {
    const int32_t id = vocabulary.find(unknown->text());
    if (id >= 0) {
      options.unknown = id;
    } else {
      options.missing_unknown = unknown->text();
    }
  }
  options.fuse_unknown = node.boolean("fuse_unk", false);
  options.byte_fallback = node.boolean("byte_fallback", false);
  options.ignore_merges = node.boolean("ignore_merges", false);
  options.continuing_prefix = node.string("continuing_subword_prefix", "");
  options.end_suffix = node.string("end_of_word_suffix", "");
  auto model = std::make_unique<Bpe>(std::move(vocabulary), std::move(options));
  read_merges(node.at("merges"), *model);
  return model;
}

std::unique_ptr<Model> read_unigram(const Node& node) {
  node.only({"type", "unk_id", "vocab", "byte_fallback"});
  const Node pieces = node.at("vocab");
  simdjson::dom::array array;
  if (pieces.value().get(array) != simdjson::SUCCESS) pieces.refuse("is not an array");
  std::vector<std::string_view> spellings;
  std::vector<double> scores;
  size_t bytes = 0;
  for (const element item : array) {
    simdjson::dom::array pair;
    std::string_view piece;
    double score = 0;
    if (item.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
        pair.at(0).get(piece) != simdjson::SUCCESS || pair.at(1).get(score) != simdjson::SUCCESS) {
      pieces.refuse(fmt::format("piece {} is not [text, score]", spellings.size()));
    }
    spellings.push_back(piece);
    scores.push_back(score);
    bytes += piece.size();
  }
  if (spellings.empty()) pieces.refuse("is empty");
  Vocabulary vocabulary;
  vocabulary.reserve(spellings.size(), bytes);
  for (size_t id = 0; id < spellings.size(); ++id) vocabulary.set(static_cast<int32_t>(id), spellings[id]);
  vocabulary.index();
  UnigramOptions options;
  if (const auto unknown = node.get("unk_id")) {
    options.unknown = static_cast<int32_t>(unknown->integer(0, static_cast<int64_t>(spellings.size()) - 1));
  }
  options.byte_fallback = node.boolean("byte_fallback", false);
  options.unknown_score = *std::min_element(scores.begin(), scores.end()) - Unigram::unknown_penalty;
  return std::make_unique<Unigram>(std::move(vocabulary), std::move(scores), options);
}

std::unique_ptr<Model> read_model(const Node& node) {
  // Files from before the field was written: BPE has merges, Unigram's vocabulary is a list of pairs.
  const auto vocab = node.get("vocab");
  const std::string type = node.string("type", node.get("merges")                   ? "BPE"
                                               : vocab && vocab->value().is_array() ? "Unigram"
                                                                                    : "");
  if (type == "BPE") return read_bpe(node);
  if (type == "Unigram") return read_unigram(node);
  node.refuse(fmt::format("the model \"{}\" is not supported; BPE and Unigram are", printable(type)));
}

// With the ids of the file.
std::vector<AddedToken> read_added_tokens(const Node& node) {
  std::vector<AddedToken> added;
  for (const Node& item : node.items()) {
    item.only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    AddedToken token;
    token.content = item.string("content");
    token.id = static_cast<int32_t>(item.at("id").integer(0, id_limit));
    token.single_word = item.boolean("single_word", false);
    token.lstrip = item.boolean("lstrip", false);
    token.rstrip = item.boolean("rstrip", false);
    token.special = item.boolean("special", false);
    token.normalized = item.boolean("normalized", !token.special);
    added.push_back(std::move(token));
  }
  return added;
}

// transformers takes it where no configuration names one.
void name_padding(const Node& root, TokenizerConfig& config) {
  const auto padding = root.get("padding");
  if (!padding || !padding->value().is_object()) return;
  if (const auto token = padding->get("pad_token"); token && token->value().is_string())
    config.set_default("pad_token", token->text());
}

// Whether the file has what the class builds its tokenizer from.
bool fits(const TokenizerClass& wanted, TokenizerConfig config, const Node& node) {
  const auto vocab = node.get("vocab");
  if (!vocab || !vocab->value().is_object() || !node.get("merges")) return false;
  if (!wanted.has_unknown) return true;
  set_defaults(wanted, config);
  const AddedToken* const unknown = config.find("unk_token");
  return unknown && vocab->get(unknown->content);
}

// What a class with a pipeline of its own takes of the file: vocabulary and merges.
std::unique_ptr<Model> read_model_for(const TokenizerClass& wanted, const TokenizerConfig& config,
                                      const Node& node) {
  const auto vocab = node.get("vocab"), merges = node.get("merges");
  if (!vocab || !vocab->value().is_object() || !merges)
    node.refuse(fmt::format("a {} needs a BPE model, with vocab and merges", wanted.name));
  Vocabulary vocabulary = read_json_vocabulary(*vocab);
  BpeOptions options;
  options.byte_fallback = wanted.byte_fallback;
  options.fuse_unknown = wanted.fuse_unknown;
  if (wanted.has_unknown) {
    const AddedToken* const unknown = config.find("unk_token");
    const int32_t id = unknown ? vocabulary.find(unknown->content) : -1;
    if (id < 0)
      vocab->refuse(fmt::format("the unk_token of a {} should be in it: \"{}\"", wanted.name,
                                unknown ? printable(unknown->content) : "null"));
    options.unknown = id;
  }
  auto model = std::make_unique<Bpe>(std::move(vocabulary), std::move(options));
  read_merges(*merges, *model);
  return model;
}

}  // namespace

std::unique_ptr<Tokenizer> from_tokenizer_json(const TokenizerFiles& files) {
  simdjson::dom::parser parser;
  const std::string name = files.folder + files.tokenizer_name;
  const Node root = parse_nodes(parser, files.tokenizer_json, name);
  root.only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
             "post_processor", "decoder", "model"});
  TokenizerConfig config = read_tokenizer_config(files);
  const TokenizerClass* own = class_of(files, config);
  // A class that no file names must fit, where one that is named may be refused.
  if (own != nullptr && config.tokenizer_class.empty() && !fits(*own, config, root.at("model")))
    own = nullptr;
  Parts parts;
  parts.where = name;
  std::vector<AddedToken> added;
  if (const auto node = root.get("added_tokens")) added = read_added_tokens(*node);
  list_tokens(added, config);
  if (own == nullptr) {
    parts.model = read_model(root.at("model"));
    // As in tokenizers, a file's id is only a claim: the vocabulary decides, and a token outside it gets the
    // next free id. In every file whose ids have no gaps the two agree.
    for (AddedToken& token : added) add_token(std::move(token), parts.model->vocabulary(), parts.added);
    if (const auto node = root.get("normalizer")) parts.normalizer = read_normalizer(*node);
    if (const auto node = root.get("pre_tokenizer")) parts.pre_tokenizer = read_pre_tokenizer(*node);
    if (const auto node = root.get("decoder")) parts.decoder = read_decoder(*node);
  } else {
    set_defaults(*own, config);
    parts.model = read_model_for(*own, config, root.at("model"));
    own->build(config, parts);
  }
  parts.adds.reason = fmt::format("{} has no post-processor", files.tokenizer_name);
  if (const auto node = root.get("post_processor")) {
    Frame frame;
    read_post_processor(*node, frame);
    parts.adds = {frame.before, frame.after,
                  fmt::format("the post-processor of {} decides", files.tokenizer_name)};
    if (own != nullptr && own->drops_post_processor)
      parts.adds = {{}, {}, fmt::format("a {} takes no post-processor", own->name)};
  }
  parts.unknown = parts.model->unknown();
  // The byte alphabet's own sign: a vocabulary with "Ġ" and without "▁".
  parts.byte_level = parts.model->vocabulary().find("Ġ") >= 0 && parts.model->vocabulary().find("▁") < 0;
  name_padding(root, config);
  add_configured_tokens(config, parts);
  if (own != nullptr) finish(*own, config, parts);
  // Without a configuration the BOS is the one token the post-processor puts in front.
  if (!config.find("bos_token") && parts.adds.before.size() == 1) parts.bos = parts.adds.before[0];
  for (const auto& [key, flag, list] : {std::tuple("add_bos_token", config.add_bos, &parts.adds.before),
                                        std::tuple("add_eos_token", config.add_eos, &parts.adds.after)}) {
    if (flag && *flag == list->empty())
      parts.adds.reason += fmt::format("; {} of tokenizer_config.json changes nothing", key);
  }
  return assemble(std::move(parts));
}

std::unique_ptr<Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json,
                                                std::string_view tokenizer_config_json) {
  return from_files({.tokenizer_json = std::string(tokenizer_json),
                     .tokenizer_config_json = std::string(tokenizer_config_json)});
}

}  // namespace outliers::text
