#include "outliers/text/tokenizer_config.h"

#include <algorithm>

#include "outliers/text/json_node.h"

namespace outliers::text {
namespace {

// A token as transformers writes it: its text, or an object with its options.
AddedToken read_token(const Node& node) {
  AddedToken token;
  if (!node.value().is_object()) {
    token.content = node.text();
    return token;
  }
  token.content = node.at("content").text();
  token.single_word = node.boolean("single_word", false);
  token.lstrip = node.boolean("lstrip", false);
  token.rstrip = node.boolean("rstrip", false);
  token.special = node.boolean("special", false);
  token.normalized = node.boolean("normalized", !token.special);
  return token;
}

void read_roles(const Node& root, TokenizerConfig& config) {
  const auto read = [&](const char* key, TokenizerConfig::Role& role) {
    const auto node = root.get(key);
    if (!node || role.token) return;
    role.token = read_token(*node);
    role.path = node->path();
  };
  read("bos_token", config.bos);
  read("eos_token", config.eos);
  read("unk_token", config.unknown);
  read("pad_token", config.padding);
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

}  // namespace

TokenizerConfig read_tokenizer_config(const TokenizerFiles& files) {
  TokenizerConfig config;
  simdjson::dom::parser parser;
  if (!files.tokenizer_config_json.empty()) {
    const Node root = parse_json(parser, files.tokenizer_config_json, "tokenizer_config.json");
    read_roles(root, config);
    const auto flag = [&](const char* key) -> std::optional<bool> {
      const auto node = root.get(key);
      return node ? std::optional(node->boolean()) : std::nullopt;
    };
    config.add_bos = flag("add_bos_token");
    config.add_eos = flag("add_eos_token");
    config.add_prefix_space = flag("add_prefix_space");
    config.legacy = flag("legacy");
    config.tokenizer_class = root.string("tokenizer_class", "");
    if (config.tokenizer_class.ends_with("Fast"))
      config.tokenizer_class.resize(config.tokenizer_class.size() - 4);
    if (const auto list = root.get("added_tokens_decoder")) {
      simdjson::dom::object object;
      if (list->value().get(object) != simdjson::SUCCESS) list->refuse("is not an object");
      for (const auto field : object) {
        AddedToken token = read_token(
            Node(field.value, fmt::format("{}.{}", list->path(), printable(std::string(field.key)))));
        token.id = read_id(*list, field.key);
        config.added.push_back(std::move(token));
      }
    }
  }
  if (!files.special_tokens_map_json.empty()) {
    read_roles(parse_json(parser, files.special_tokens_map_json, "special_tokens_map.json"), config);
  }
  if (!files.added_tokens_json.empty()) {
    const Node root = parse_json(parser, files.added_tokens_json, "added_tokens.json");
    const Vocabulary tokens = read_json_vocabulary(root);
    for (size_t id = 0; id < tokens.size(); ++id) {
      const std::string_view content = tokens.piece(static_cast<int32_t>(id));
      const bool listed = std::any_of(config.added.begin(), config.added.end(),
                                      [&](const AddedToken& token) { return token.content == content; });
      if (!content.empty() && !listed) {
        config.added.push_back({.id = static_cast<int32_t>(id), .content = std::string(content)});
      }
    }
  }
  std::sort(config.added.begin(), config.added.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return config;
}

std::optional<int32_t> find_token(const Parts& parts, std::string_view content) {
  for (const AddedToken& token : parts.added) {
    if (token.content == content) return token.id;
  }
  const int32_t id = parts.model->vocabulary().find(content);
  return id >= 0 ? std::optional(id) : std::nullopt;
}

void add_configured_tokens(const TokenizerConfig& config, Parts& parts) {
  auto next = static_cast<int32_t>(parts.model->vocabulary().size());
  const auto add = [&](AddedToken token) {
    const auto known = std::find_if(parts.added.begin(), parts.added.end(),
                                    [&](const AddedToken& other) { return other.content == token.content; });
    if (known != parts.added.end()) {
      known->special = known->special || token.special;
      return known->id;
    }
    const int32_t id = parts.model->vocabulary().find(token.content);
    token.id = id >= 0 ? id : next;
    next = std::max(next, token.id + 1);
    parts.added.push_back(token);
    return token.id;
  };
  for (const AddedToken& token : config.added) {
    if (token.content.empty()) continue;
    const int32_t known = parts.model->vocabulary().find(token.content);
    require(
        token.id == (known >= 0 ? known : next) || find_token(parts, token.content),
        "the added token \"{}\" has the id {} where {} is free; tokens that leave a gap are not supported",
        printable(token.content), token.id, next);
    add(token);
  }
  const auto role = [&](const TokenizerConfig::Role& wanted, std::optional<int32_t>& id) {
    if (!wanted.token || wanted.token->content.empty()) return;
    AddedToken token = *wanted.token;
    token.special = true;
    token.normalized = false;
    id = add(std::move(token));
  };
  role(config.bos, parts.bos);
  role(config.eos, parts.eos);
  role(config.unknown, parts.unknown);
  role(config.padding, parts.padding);
}

void apply_bos_and_eos(const TokenizerConfig& config, Parts& parts) {
  if (!config.add_bos && !config.add_eos) return;
  parts.before.clear();
  parts.after.clear();
  if (config.add_bos.value_or(false) && parts.bos) parts.before = {*parts.bos};
  if (config.add_eos.value_or(false) && parts.eos) parts.after = {*parts.eos};
}

}  // namespace outliers::text
