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
    if (std::string_view(weight.name).substr(0, prefix.size()) == prefix) {
      for (const std::string& stored : weight.stored) action(stored);
    }
  }
}

}  // namespace

Norm load_norm(const Model& model, const std::string& name, at::ScalarType dtype, at::Device device) {
  const auto part = [&](const std::string& full) {
    return model.has(full) ? model.load(full, wide_type(dtype)) : at::Tensor();
  };
  Norm norm{part(name + ".weight"), part(name + ".bias")};
  if (norm.weight.defined()) {
    if (model.config().norm_adds_one) norm.weight.add_(1.0);
    norm.weight = norm.weight.to(device);
  }
  if (norm.bias.defined()) norm.bias = norm.bias.to(device);
  return norm;
}

LayerWeights load_layer(const Model& model, int64_t layer, at::ScalarType dtype, at::Device device) {
  const auto name = [&](const char* part) { return fmt::format("layer.{}.{}", layer, part); };
  const auto norm = [&](const char* part) { return load_norm(model, name(part), dtype, device); };
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
  const Config& c = model.config();
  LayerWeights w;
  w.attn_norm = norm("attn_norm");
  w.qkv = c.fused_qkv ? plain("qkv.weight") : joined({"q.weight", "k.weight", "v.weight"});
  w.qkv_bias = c.fused_qkv ? plain("qkv.bias") : joined({"q.bias", "k.bias", "v.bias"});
  w.q_norm = norm("q_norm");
  w.k_norm = norm("k_norm");
  w.o = plain("o.weight");
  w.o_bias = plain("o.bias");
  w.attn_post_norm = norm("attn_post_norm");
  w.mlp_norm = norm("mlp_norm");
  if (c.fused_gate_up) {
    const at::Tensor both = plain("gate_up.weight");
    w.gate = both.narrow(0, 0, c.mlp_width);
    w.up = both.narrow(0, c.mlp_width, c.mlp_width);
  } else {
    w.gate = plain("gate.weight");
    w.gate_bias = plain("gate.bias");
    w.up = plain("up.weight");
    w.up_bias = plain("up.bias");
  }
  w.down = plain("down.weight");
  w.down_bias = plain("down.bias");
  w.mlp_post_norm = norm("mlp_post_norm");
  return w;
}

std::vector<LayerWeight> projections(const LayerWeights& w, const Config& c) {
  const int64_t queries = c.heads * c.head_width, keys = c.kv_heads * c.head_width;
  std::vector<LayerWeight> list = {{"q", w.qkv.narrow(0, 0, queries)},
                                   {"k", w.qkv.narrow(0, queries, keys)},
                                   {"v", w.qkv.narrow(0, queries + keys, keys)},
                                   {"o", w.o},
                                   {"gate", w.gate},
                                   {"up", w.up},
                                   {"down", w.down}};
  std::erase_if(list, [](const LayerWeight& weight) { return !weight.tensor.defined(); });
  return list;
}

void prefetch_layer(const Model& model, int64_t layer) {
  for_weights_of(model, layer, [&](const std::string& stored) { model.checkpoint().prefetch(stored); });
}

void release_layer(const Model& model, int64_t layer) {
  for_weights_of(model, layer, [&](const std::string& stored) { model.checkpoint().release(stored); });
}

}  // namespace outliers::models
