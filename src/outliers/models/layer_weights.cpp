#include "outliers/models/layer_weights.h"

#include <string_view>

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace outliers::models {

namespace {

template <typename Action>
void for_weights_of(const Model& model, int64_t layer, const Action& action) {
  const std::string prefix = fmt::format("layer.{}.", layer);
  for (const StoredWeight& weight : model.weights().all()) {
    if (std::string_view(weight.name).substr(0, prefix.size()) == prefix) action(weight.stored);
  }
}

}  // namespace

at::Tensor load_norm(const Model& model, const std::string& name, at::ScalarType dtype, at::Device device) {
  at::Tensor weight = model.load(name, wide_type(dtype));
  if (model.config().norm_adds_one) weight.add_(1.0);
  return weight.to(device);
}

LayerWeights load_layer(const Model& model, int64_t layer, at::ScalarType dtype, at::Device device) {
  const auto name = [&](const char* part) { return fmt::format("layer.{}.{}", layer, part); };
  const auto norm = [&](const char* part) {
    return model.has(name(part)) ? load_norm(model, name(part), dtype, device) : at::Tensor();
  };
  const auto plain = [&](const char* part) {
    return model.has(name(part)) ? model.load(name(part), dtype).to(device) : at::Tensor();
  };
  const auto joined = [&](std::initializer_list<const char*> parts) {
    std::vector<at::Tensor> tensors;
    for (const char* part : parts) {
      if (model.has(name(part))) tensors.push_back(model.load(name(part), dtype));
    }
    return tensors.empty() ? at::Tensor() : at::cat(tensors).to(device);
  };
  LayerWeights w;
  w.attn_norm = norm("attn_norm.weight");
  w.qkv = joined({"q.weight", "k.weight", "v.weight"});
  w.qkv_bias = joined({"q.bias", "k.bias", "v.bias"});
  w.q_norm = norm("q_norm.weight");
  w.k_norm = norm("k_norm.weight");
  w.o = plain("o.weight");
  w.o_bias = plain("o.bias");
  w.attn_post_norm = norm("attn_post_norm.weight");
  w.mlp_norm = norm("mlp_norm.weight");
  w.gate = plain("gate.weight");
  w.gate_bias = plain("gate.bias");
  w.up = plain("up.weight");
  w.up_bias = plain("up.bias");
  w.down = plain("down.weight");
  w.down_bias = plain("down.bias");
  w.mlp_post_norm = norm("mlp_post_norm.weight");
  return w;
}

std::vector<LayerWeight> projections(const LayerWeights& w, const Config& c) {
  const int64_t queries = c.heads * c.head_width, keys = c.kv_heads * c.head_width;
  return {{"q", w.qkv.narrow(0, 0, queries)},
          {"k", w.qkv.narrow(0, queries, keys)},
          {"v", w.qkv.narrow(0, queries + keys, keys)},
          {"o", w.o},
          {"gate", w.gate},
          {"up", w.up},
          {"down", w.down}};
}

void prefetch_layer(const Model& model, int64_t layer) {
  for_weights_of(model, layer, [&](const std::string& stored) { model.checkpoint().prefetch(stored); });
}

void release_layer(const Model& model, int64_t layer) {
  for_weights_of(model, layer, [&](const std::string& stored) { model.checkpoint().release(stored); });
}

}  // namespace outliers::models
