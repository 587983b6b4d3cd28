#include "outliers/studies/describe.h"

#include <algorithm>

#include "outliers/core/error.h"
#include "outliers/models/describe.h"
#include "outliers/results/json.h"

namespace outliers::studies {
namespace {

using nlohmann::ordered_json;

const char* activation_name(models::Activation activation) {
  switch (activation) {
    case models::Activation::silu:
      return "silu";
    case models::Activation::gelu_tanh:
      return "gelu_tanh";
    case models::Activation::gelu:
      return "gelu";
    case models::Activation::relu:
      return "relu";
    case models::Activation::quick_gelu:
      return "quick_gelu";
  }
  return "unknown";
}

const char* positions_name(models::Positions positions) {
  switch (positions) {
    case models::Positions::rotary:
      return "rotary";
    case models::Positions::learned:
      return "learned";
    case models::Positions::alibi:
      return "ALiBi";
  }
  return "unknown";
}

ordered_json describe_rotary(const models::Rotary& rotary) {
  return {{"base", rotary.base},
          {"width", rotary.width},
          {"scaling", rotary.scaling.empty() ? "none" : rotary.scaling},
          {"factor", rotary.factor}};
}

ordered_json describe_traits(const models::Config& c) {
  const auto sliding = std::count_if(c.windows.begin(), c.windows.end(), [](int64_t w) { return w > 0; });
  ordered_json rotaries = ordered_json::array();
  for (size_t i = 0; i < c.rotaries.size(); ++i) {
    const bool used = std::count(c.rotary_of_layer.begin(), c.rotary_of_layer.end(), static_cast<int>(i)) > 0;
    if (used && c.rotaries[i].width > 0) rotaries.push_back(describe_rotary(c.rotaries[i]));
  }
  return {{"norm", c.norm == models::NormKind::rms ? "RMS" : "layer"},
          {"norm_epsilon", c.norm_epsilon},
          {"activation", activation_name(c.activation)},
          {"gated_mlp", c.gated_mlp},
          {"sandwich_norms", c.input_norms && c.branch_norms},
          {"parallel", c.parallel},
          {"layer_scale", c.branch_scales},
          {"causal", c.causal},
          {"positions", positions_name(c.positions)},
          {"qk_norm", c.qk_norm != models::QkNorm::none},
          {"attention_bias", c.attention_bias},
          {"tied_embeddings", c.tied_embeddings},
          {"head", models::has_head(c)},
          {"embedding_scale", c.embedding_scale},
          {"attention_scale", c.attention_scale},
          {"attention_softcap", c.attention_softcap},
          {"logit_softcap", c.logit_softcap},
          {"sliding_layers", sliding},
          {"sliding_window", c.windows.empty() ? 0 : *std::max_element(c.windows.begin(), c.windows.end())},
          {"rotary", rotaries}};
}

ordered_json describe_tokenizer(const text::Tokenizer* tokenizer) {
  if (tokenizer == nullptr) return nullptr;
  ordered_json special = ordered_json::array();
  for (const text::SpecialToken& token : tokenizer->special_tokens()) {
    special.push_back({{"id", token.id}, {"text", token.text}, {"role", token.role}});
  }
  const text::Additions& adds = tokenizer->additions();
  const auto list = [&](const std::vector<int32_t>& ids) {
    ordered_json tokens = ordered_json::array();
    for (const int32_t id : ids) tokens.push_back({{"id", id}, {"text", tokenizer->piece(id)}});
    return tokens;
  };
  return {{"description", tokenizer->description()},
          {"size", tokenizer->size()},
          {"special_tokens", special},
          {"adds", {{"before", list(adds.before)}, {"after", list(adds.after)}, {"reason", adds.reason}}}};
}

}  // namespace

ordered_json inspect(const io::Checkpoint& checkpoint) {
  struct Total {
    std::string encoding;
    int64_t tensors = 0;
    uint64_t bytes = 0;
  };
  std::vector<Total> totals;
  ordered_json tensors = ordered_json::array();
  for (const io::TensorInfo& info : checkpoint.tensors()) {
    auto place = std::find_if(totals.begin(), totals.end(),
                              [&](const Total& total) { return total.encoding == info.encoding; });
    if (place == totals.end()) place = totals.insert(totals.end(), {info.encoding});
    ++place->tensors;
    place->bytes += info.bytes;
    tensors.push_back(
        {{"name", info.name}, {"shape", info.shape}, {"encoding", info.encoding}, {"bytes", info.bytes}});
  }
  std::stable_sort(totals.begin(), totals.end(),
                   [](const Total& a, const Total& b) { return a.bytes > b.bytes; });
  ordered_json encodings = ordered_json::array();
  for (const Total& total : totals) {
    encodings.push_back({{"encoding", total.encoding}, {"tensors", total.tensors}, {"bytes", total.bytes}});
  }
  return {{"path", printable(checkpoint.path().string())},
          {"format", io::format_name(checkpoint.format())},
          {"weight_bytes", checkpoint.weight_bytes()},
          {"encodings", encodings},
          {"tensors", tensors}};
}

ordered_json inspect(const models::Model& model) {
  ordered_json description = inspect(model.checkpoint());
  description["model"] = ordered_json::parse(results::to_text(models::describe(model)));
  description["traits"] = describe_traits(model.config());
  description["tokenizer"] =
      describe_tokenizer(models::reads_images(model.config()) ? nullptr : model.try_tokenizer());
  return description;
}

}  // namespace outliers::studies
