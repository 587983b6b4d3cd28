#include "outliers/text/tokenizer_config.h"

#include <algorithm>
#include <map>
#include <set>

#include "outliers/core/warning.h"
#include "outliers/text/json_node.h"

namespace outliers::text {
namespace {

constexpr const char* kNamed[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

// A token as transformers writes it: its text, or an object with its options.
AddedToken read_token(const Node& node) {
  AddedToken token;
  if (!node.value().is_object()) {
    token.content = node.text();
    token.special = token.as_text = true;
    return token;
  }
  token.content = node.at("content").text();
  token.is_marked = node.get("__type").has_value();
  token.single_word = node.boolean("single_word", false);
  token.lstrip = node.boolean("lstrip", false);
  token.rstrip = node.boolean("rstrip", false);
  token.special = node.boolean("special", false);
  token.normalized = node.boolean("normalized", !token.special);
  return token;
}

// What Python takes for true.
bool is_true(const simdjson::dom::element& value) {
  bool flag = false;
  double number = 0;
  std::string_view text;
  simdjson::dom::array array;
  simdjson::dom::object object;
  if (value.get(flag) == simdjson::SUCCESS) return flag;
  if (value.get(number) == simdjson::SUCCESS) return number != 0;
  if (value.get(text) == simdjson::SUCCESS) return !text.empty();
  if (value.get(array) == simdjson::SUCCESS) return array.size() > 0;
  return value.get(object) == simdjson::SUCCESS && object.size() > 0;
}

int32_t read_id(const Node& list, std::string_view text) {
  int32_t id = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || id > id_limit / 10)
      list.refuse(fmt::format("\"{}\" is no token id", printable(std::string(text))));
    id = id * 10 + (c - '0');
  }
  return id;
}

void set_named(TokenizerConfig& config, const std::string& key, AddedToken token) {
  const auto known = std::find_if(config.named.begin(), config.named.end(),
                                  [&](const auto& named) { return named.first == key; });
  if (known == config.named.end()) {
    config.named.emplace_back(key, std::move(token));
  } else {
    known->second = std::move(token);
  }
}

// Whether a file leaves transformers with a list of extra tokens, maybe an empty one; nothing: the file does
// not say. An object of them is a list of named ones instead.
std::optional<bool> lists_extra(const Node& root, bool flagged) {
  std::optional<bool> out;
  std::optional<simdjson::dom::element> extra, additional;
  for (const auto field : root.object()) {
    if (field.key == "extra_special_tokens") extra = field.value;
    if (field.key == "additional_special_tokens") additional = field.value;
  }
  if (extra) out = !extra->is_object();
  if (!flagged && additional && (!extra || !is_true(*extra))) out = !additional->is_object();
  return out;
}

// Special tokens by name. `flagged`: an object without "special" means a special token. `pieces`: of a
// SentencePiece model, whose own control pieces take the place of special_tokens_map.json's
// additional_special_tokens.
void read_special_tokens(const Node& root, bool flagged, bool pieces, TokenizerConfig& config) {
  const auto token_of = [&](const Node& node) {
    AddedToken token = read_token(node);
    if (flagged && node.value().is_object()) {
      token.special = true;
      token.normalized = node.boolean("normalized", false);
    }
    return token;
  };
  // Other keys that end so are tokens if they are texts ("image_token") or marked objects; add_bos_token and
  // its like are not. Of tokenizer_config.json's, objects get their ids first.
  const auto is_marked = [&](const Node& node) {
    return node.value().is_object() && (flagged || node.string("__type", "") == "AddedToken");
  };
  for (const bool texts : {false, true}) {
    for (const auto field : root.object()) {
      if (field.value.is_null()) {
        config.none.insert(std::string(field.key));
        std::erase_if(config.named, [&](const auto& named) { return named.first == field.key; });
      }
      if (field.value.is_null() || !field.key.ends_with("_token")) continue;
      const Node node = root.child(field.value, field.key);
      const bool is_text = field.value.is_string();
      if (!is_standard_token(field.key) && !is_text && !is_marked(node)) continue;
      if (flagged || is_text == texts) set_named(config, std::string(field.key), token_of(node));
    }
  }
  // The old name counts where the new one says nothing; in special_tokens_map.json, where nobody said
  // anything before.
  const auto extra = root.get("extra_special_tokens"), additional = root.get("additional_special_tokens");
  const bool empty =
      !extra || (extra->value().is_array() ? extra->items().empty()
                                           : extra->value().is_object() && extra->object().size() == 0);
  const bool passed_over = flagged && (config.has_extra || extra || pieces);
  const auto& tokens = empty && additional && !passed_over ? additional : extra;
  config.has_extra = config.has_extra || extra || additional;
  // Lists are joined; what else special_tokens_map.json has goes before.
  const std::optional<bool> listed = lists_extra(root, flagged);
  if (flagged && listed && !(extra && extra->value().is_array())) config.extra.clear();
  config.lists_extra = listed.value_or(config.lists_extra);
  if (!tokens) return;
  if (tokens->value().is_object()) {
    for (const auto field : tokens->object())
      set_named(config, std::string(field.key), token_of(tokens->child(field.value, field.key)));
    return;
  }
  std::vector<AddedToken> list;
  for (const Node& item : tokens->items()) list.push_back(token_of(item));
  config.extra.insert(config.extra.end(), list.begin(), list.end());
}

bool has_options_of(const AddedToken& a, const AddedToken& b) {
  return a.single_word == b.single_word && a.lstrip == b.lstrip && a.rstrip == b.rstrip &&
         a.normalized == b.normalized && a.special == b.special;
}

// transformers' order.
std::vector<std::pair<std::string, AddedToken>> in_order(
    std::vector<std::pair<std::string, AddedToken>> tokens) {
  const auto rank = [](const auto& named) {
    return std::find(std::begin(kNamed), std::end(kNamed), named.first) - std::begin(kNamed);
  };
  std::stable_sort(tokens.begin(), tokens.end(),
                   [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return tokens;
}

}  // namespace

bool is_standard_token(std::string_view key) {
  return std::find(std::begin(kNamed), std::end(kNamed), key) != std::end(kNamed);
}

const AddedToken* TokenizerConfig::find(std::string_view key) const {
  for (const auto& [name, token] : named) {
    if (name == key) return token.content.empty() ? nullptr : &token;
  }
  return nullptr;
}

void TokenizerConfig::set_default(const char* key, std::string_view content) {
  if (none.count(key) == 0 && !find(key))
    set_named(*this, key, {.content = std::string(content), .as_text = true});
}

void list_tokens(const std::vector<AddedToken>& tokens, TokenizerConfig& config) {
  if (config.has_list) return;
  for (const AddedToken& token : tokens) {
    std::erase_if(config.listed, [&](const AddedToken& other) { return other.id == token.id; });
    config.listed.push_back(token);
  }
  std::stable_sort(config.listed.begin(), config.listed.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
}

TokenizerConfig read_tokenizer_config(const TokenizerFiles& files) {
  TokenizerConfig config;
  simdjson::dom::parser parser;
  std::map<int32_t, AddedToken> listed;
  const bool pieces = files.tokenizer_json.empty() && !files.sentencepiece_model.empty();
  if (!files.tokenizer_config_json.empty()) {
    const Node root =
        parse_nodes(parser, files.tokenizer_config_json, files.folder + "tokenizer_config.json");
    read_special_tokens(root, false, pieces, config);
    const auto flag = [&](const char* key) -> std::optional<bool> {
      const auto node = root.get(key);
      return node ? std::optional(is_true(node->value())) : std::nullopt;
    };
    config.add_bos = flag("add_bos_token");
    config.add_eos = flag("add_eos_token");
    config.add_prefix_space = flag("add_prefix_space");
    config.legacy = flag("legacy");
    config.split_special_tokens = flag("split_special_tokens").value_or(false);
    if (const auto name = root.get("tokenizer_class"); name && name->value().is_string())
      config.tokenizer_class = name->text();
    if (config.tokenizer_class.ends_with("Fast"))
      config.tokenizer_class.resize(config.tokenizer_class.size() - 4);
    if (const auto map = root.get("auto_map"))
      config.has_code = map->value().is_array() || (map->value().is_object() && map->get("AutoTokenizer"));
    if (const auto count = root.get("extra_ids"); count && pieces)
      config.extra_ids = count->integer(0, 1 << 16);
    if (const auto list = root.get("added_tokens_decoder")) {
      config.has_list = true;
      for (const auto field : list->object())
        listed[read_id(*list, field.key)] = read_token(list->child(field.value, field.key));
    }
  }
  if (!config.has_list && !files.special_tokens_map_json.empty()) {
    const Node root =
        parse_nodes(parser, files.special_tokens_map_json, files.folder + "special_tokens_map.json");
    read_special_tokens(root, true, pieces, config);
  }
  if (!config.has_list && !files.added_tokens_json.empty()) {
    std::set<std::string_view> special;
    for (const auto& [key, token] : config.named) {
      if (is_standard_token(key) && !token.is_marked) special.insert(token.content);
    }
    for (const AddedToken& token : config.extra) {
      if (!token.is_marked) special.insert(token.content);
    }
    const Node root = parse_nodes(parser, files.added_tokens_json, files.folder + "added_tokens.json");
    const Vocabulary tokens = read_json_vocabulary(root);
    for (size_t id = 0; id < tokens.size(); ++id) {
      const std::string_view content = tokens.piece(static_cast<int32_t>(id));
      if (content.empty()) continue;
      const bool is_special = special.count(content) > 0;
      AddedToken& token = listed[static_cast<int32_t>(id)];
      token = {.content = std::string(content), .normalized = !is_special, .special = is_special};
    }
  }
  for (auto& [id, token] : listed) {
    token.id = id;
    config.listed.push_back(std::move(token));
  }
  return config;
}

void add_configured_tokens(const TokenizerConfig& config, Parts& parts) {
  const Vocabulary& vocabulary = parts.model->vocabulary();
  std::set<std::string> known, names;
  for (const AddedToken& token : parts.added) known.insert(token.content);
  for (const auto& [key, token] : config.named) names.insert(token.content);
  const auto id_of = [&](const std::string& content) {
    const auto found = std::find_if(parts.added.begin(), parts.added.end(),
                                    [&](const AddedToken& token) { return token.content == content; });
    return found == parts.added.end() ? -1 : found->id;
  };
  for (AddedToken token : config.listed) {
    if (token.content.empty()) continue;
    const auto same = [&](const AddedToken& other) {
      return other.content == token.content && has_options_of(other, token);
    };
    if (std::none_of(parts.added.begin(), parts.added.end(), same)) {
      token.special = token.special || names.count(token.content) > 0;
      add_token(token, vocabulary, parts.added);
    }
    known.insert(token.content);
    if (const int32_t id = id_of(token.content); id != token.id) {
      warn("{}: the added token \"{}\" gets the id {}, as in transformers, though the configuration says {}",
           parts.where, printable(token.content), id, token.id);
    }
  }
  // A token that the configuration names twice gets the options of the second one, if the two differ.
  std::vector<const AddedToken*> wanted;
  const auto want = [&](const AddedToken& token) {
    const auto same = [&](const AddedToken* other) {
      return other->content == token.content && other->as_text == token.as_text &&
             (token.as_text || has_options_of(*other, token));
    };
    if (known.count(token.content) == 0 && std::none_of(wanted.begin(), wanted.end(), same))
      wanted.push_back(&token);
  };
  const auto named = in_order(config.named);
  for (const auto& [key, token] : named) want(token);
  for (const AddedToken& token : config.extra) want(token);
  for (const AddedToken* token : wanted) {
    AddedToken added = *token;
    added.special = added.special || names.count(added.content) > 0;
    add_token(std::move(added), vocabulary, parts.added);
  }
  const auto role = [&](const char* key, std::optional<int32_t>& id) {
    if (const AddedToken* token = config.find(key)) id = id_of(token->content);
  };
  role("bos_token", parts.bos);
  role("eos_token", parts.eos);
  role("unk_token", parts.unknown);
  role("pad_token", parts.padding);
  parts.splits_special_tokens = config.split_special_tokens;
}

void apply_bos_and_eos(const TokenizerConfig& config, Parts& parts) {
  if (config.add_bos.value_or(false) && parts.bos) parts.adds.before = {*parts.bos};
  if (config.add_eos.value_or(false) && parts.eos) parts.adds.after = {*parts.eos};
  parts.adds.reason = config.add_bos || config.add_eos
                          ? "add_bos_token and add_eos_token of tokenizer_config.json"
                          : "no file asks for one";
}

}  // namespace outliers::text
