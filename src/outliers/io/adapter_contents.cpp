#include "outliers/io/adapter_contents.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/ranges.h>

namespace outliers::io {
namespace {

std::string joined(const std::vector<std::string>& parts, size_t begin) {
  return fmt::format("{}", fmt::join(parts.begin() + static_cast<int64_t>(begin), parts.end(), "."));
}

}  // namespace

AdapterContents::AdapterContents(const Checkpoint& adapter, const Checkpoint& base) {
  for (const TensorInfo& info : adapter.tensors()) add(info, base);
}

void AdapterContents::add(const TensorInfo& info, const Checkpoint& base) {
  constexpr std::string_view kPrefix = "base_model.model.";
  constexpr std::array<std::string_view, 11> kParts = {"lora_A",
                                                       "lora_B",
                                                       "lora_embedding_A",
                                                       "lora_embedding_B",
                                                       "base_layer",
                                                       "token_adapter",
                                                       "modules_to_save",
                                                       "lora_magnitude_vector",
                                                       "original_module",
                                                       "lora_velora_embed",
                                                       "lora_monteclora_sampler"};
  std::string name = info.name;
  while (name.starts_with(kPrefix)) name.erase(0, kPrefix.size());
  Words words;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    words.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  const auto part = std::find_if(words.begin(), words.end(), [&](const std::string& word) {
    return std::find(kParts.begin(), kParts.end(), word) != kParts.end();
  });
  if (part == words.end()) {
    plain.emplace_back(name, &info);
    return;
  }
  const auto at = static_cast<size_t>(part - words.begin());
  const std::string module = fmt::format("{}", fmt::join(words.begin(), part, "."));
  Words rest(part + 1, words.end());
  if (!place(*part, module, rest, info, base)) unknown.push_back(joined(words, at) + " of " + module);
}

void AdapterContents::drop_name(Words& rest, size_t left) {
  if (rest.size() != left + 1) return;
  adapters.insert(rest.front());
  rest.erase(rest.begin());
}

bool AdapterContents::place(const std::string& part, const std::string& name, Words rest,
                            const TensorInfo& info, const Checkpoint& base) {
  // What training needs besides, and the base's own values.
  if (part == "original_module" || part == "lora_velora_embed" || part == "lora_monteclora_sampler")
    return true;
  if (part == "modules_to_save") {
    const bool whole = base.find(name + "." + joined(rest, 0)) != nullptr || rest.size() < 2;
    if (!whole) drop_name(rest, rest.size() - 1);
    plain.emplace_back(name + "." + joined(rest, 0), &info);
    return !rest.empty();
  }
  AdapterModule& module = modules[name];
  const auto set = [&](const TensorInfo*& member) {
    const bool first = member == nullptr;
    member = &info;
    return first;
  };
  if (part == "token_adapter" && !rest.empty() && rest.front() == "trainable_tokens_delta") {
    drop_name(rest, 1);
    return set(module.tokens);
  }
  if (part == "token_adapter" && !rest.empty()) {
    if (rest.front() == "trainable_tokens_original") return true;
    rest.erase(rest.begin());  // base_layer
  }
  if (part == "base_layer" || part == "token_adapter")
    return rest.size() == 1 && module.base.emplace(rest.front(), &info).second;
  if (part == "lora_magnitude_vector") {
    if (!rest.empty() && rest.back() == "weight") rest.pop_back();
    drop_name(rest, 0);
    return rest.empty() && set(module.magnitude);
  }
  if (part == "lora_embedding_A" || part == "lora_embedding_B") {
    module.embedding = true;
    drop_name(rest, 0);
    return rest.empty() && set(part.back() == 'A' ? module.a : module.b);
  }
  drop_name(rest, 1);
  if (rest.size() != 1) return false;
  if (rest.front() == "bias") return part == "lora_B" && set(module.bias_of_b);
  return rest.front() == "weight" && set(part == "lora_A" ? module.a : module.b);
}

}  // namespace outliers::io
