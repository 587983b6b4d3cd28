#include "outliers/run/layer_weights.h"

#include <string_view>

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace outliers::run {

namespace {

/// gate and up [F, D] (or their biases [F]) from one tensor of both.
void split_gate_up(const models::Config& c, const at::Tensor& both, at::Tensor& gate, at::Tensor& up) {
  const int64_t F = both.size(0) / 2;
  gate = c.storage.mixed_gate_up ? both.slice(0, 0, 2 * F, 2) : both.narrow(0, 0, F);
  up = c.storage.mixed_gate_up ? both.slice(0, 1, 2 * F, 2) : both.narrow(0, F, F);
  if (both.dim() == 2 && gate.stride(0) != 1 && gate.stride(1) != 1) {  // else each product would copy them
    gate = gate.contiguous();
    up = up.contiguous();
  }
}

/// `part`(name) loads "gate.weight" and the like, or nothing.
template <typename Part>
Mlp load_mlp(const models::Config& c, bool fused, const Part& part) {
  Mlp mlp;
  if (fused) {
    if (const at::Tensor both = part("gate_up.weight"); both.defined()) {
      split_gate_up(c, both, mlp.gate, mlp.up);
    }
    if (const at::Tensor both = part("gate_up.bias"); both.defined()) {
      split_gate_up(c, both, mlp.gate_bias, mlp.up_bias);
    }
  } else {
    mlp.gate = part("gate.weight");
    mlp.gate_bias = part("gate.bias");
    mlp.up = part("up.weight");
    mlp.up_bias = part("up.bias");
  }
  mlp.down = part("down.weight");
  mlp.down_bias = part("down.bias");
  return mlp;
}

}  // namespace

at::Tensor load_once(const models::Model& model, const std::string& name, at::ScalarType dtype,
                     at::Device device) {
  const models::StoredWeight& weight = *model.weights().find(name);
  if (device.is_meta()) return at::empty(weight.shape, at::dtype(dtype).device(device));
  const at::Tensor tensor = model.load(name, dtype);
  for (const std::string& stored : weight.stored) model.checkpoint().release(stored);
  return tensor.to(device);
}

Norm load_norm(const models::Model& model, const std::string& name, at::ScalarType dtype, at::Device device) {
  const auto part = [&](const std::string& full) {
    return model.has(full) ? load_once(model, full, wide_type(dtype), device) : at::Tensor();
  };
  Norm norm{part(name + ".weight"), part(name + ".bias")};
  if (norm.weight.defined() && model.config().storage.norm_less_one) norm.weight.add_(1.0);
  return norm;
}

LayerWeights load_layer(const models::Model& model, int64_t layer, at::ScalarType dtype, at::Device device) {
  const auto name = [&](const std::string& part) { return fmt::format("layer.{}.{}", layer, part); };
  const auto norm = [&](const char* part) { return load_norm(model, name(part), dtype, device); };
  const auto plain = [&](const std::string& part) {
    return model.has(name(part)) ? load_once(model, name(part), dtype, device) : at::Tensor();
  };
  const auto joined = [&](std::initializer_list<const char*> parts) {
    std::vector<int64_t> shape;
    for (const char* part : parts) {
      const models::StoredWeight* weight = model.weights().find(name(part));
      if (weight == nullptr) continue;
      const int64_t rows = shape.empty() ? 0 : shape.front();
      shape = weight->shape;
      shape.front() += rows;
    }
    if (shape.empty()) return at::Tensor();
    const at::Device host = device.is_meta() ? device : at::Device(at::kCPU);  // where they are joined
    at::Tensor all = at::empty(shape, at::dtype(dtype).device(host));
    int64_t begin = 0;
    for (const char* part : parts) {
      if (!model.has(name(part))) continue;
      const at::Tensor rows = load_once(model, name(part), dtype, host);
      all.narrow(0, begin, rows.size(0)).copy_(rows);
      begin += rows.size(0);
    }
    return all.to(device);
  };
  const models::Config& c = model.config();
  LayerWeights w;
  w.attn_norm = norm("attn_norm");
  w.qkv = c.storage.fused_qkv ? plain("qkv.weight") : joined({"q.weight", "k.weight", "v.weight"});
  w.qkv_bias = c.storage.fused_qkv ? plain("qkv.bias") : joined({"q.bias", "k.bias", "v.bias"});
  w.q_norm = norm("q_norm");
  w.k_norm = norm("k_norm");
  w.o = plain("o.weight");
  w.o_bias = plain("o.bias");
  w.attn_post_norm = norm("attn_post_norm");
  w.attn_scale = plain("attn_scale.weight");
  w.mlp_scale = plain("mlp_scale.weight");
  w.mlp_norm = norm("mlp_norm");
  const bool routed = is_routed(c, layer);
  w.mlp = load_mlp(c, c.storage.fused_gate_up && !routed,
                   [&](const char* part) { return plain(routed ? fmt::format("shared.{}", part) : part); });
  w.mlp_post_norm = norm("mlp_post_norm");
  w.sinks = plain("sinks.weight");
  w.router = plain("router.weight");
  w.router_bias = plain("router.bias");
  w.shared_gate = plain("shared_gate.weight");
  return w;
}

std::vector<LayerWeight> projections(const LayerWeights& w, const models::Config& c) {
  const int64_t queries = c.heads * c.head_width, keys = c.kv_heads * c.head_width;
  std::vector<LayerWeight> list = {{"q", w.qkv.narrow(0, 0, queries)},
                                   {"k", w.qkv.narrow(0, queries, keys)},
                                   {"v", w.qkv.narrow(0, queries + keys, keys)},
                                   {"o", w.o}};
  if (w.router.defined()) list.push_back({"router", w.router});
  for (LayerWeight& weight : projections(w.mlp, w.router.defined() ? kSharedExpert : kNoExpert)) {
    list.push_back(std::move(weight));
  }
  return list;
}

std::vector<LayerWeight> projections(const Mlp& mlp, int64_t expert) {
  std::vector<LayerWeight> list = {
      {"gate", mlp.gate, expert}, {"up", mlp.up, expert}, {"down", mlp.down, expert}};
  std::erase_if(list, [](const LayerWeight& weight) { return !weight.tensor.defined(); });
  return list;
}

LayerExperts::LayerExperts(const models::Model& model, int64_t layer, at::ScalarType dtype, at::Device device,
                           Stopwatch& loading, std::function<void(int64_t, const Mlp&)> on_load)
    : model_(model),
      layer_(layer),
      dtype_(dtype),
      device_(device),
      loading_(loading),
      on_load_(std::move(on_load)) {}

/// Calls on_tensor(name) for each tensor that holds nothing but this expert, and on_row(name) for each whose
/// row of that number does.
template <typename OnTensor, typename OnRow>
void LayerExperts::for_stored(int64_t expert, const OnTensor& on_tensor, const OnRow& on_row) const {
  for (const char* module : {"gate", "up", "gate_up", "down"}) {
    const models::StoredWeight* weight =
        model_.weights().find(fmt::format("layer.{}.experts.{}.weight", layer_, module));
    if (weight == nullptr) continue;
    if (model_.config().storage.stacked_experts) {
      for (const std::string& stored : weight->stored) on_row(stored);
    } else {
      on_tensor(weight->stored[static_cast<size_t>(expert)]);
    }
  }
}

void LayerExperts::prefetch(const std::vector<int64_t>& experts) const {
  if (device_.is_meta()) return;
  const io::Checkpoint& file = model_.checkpoint();
  for (int64_t expert : experts) {
    if (experts_.count(expert) > 0) continue;
    for_stored(
        expert, [&](const std::string& stored) { file.prefetch(stored); },
        [&](const std::string& stored) { file.prefetch_row(stored, expert); });
  }
}

Mlp LayerExperts::load(int64_t expert) const {
  return load_mlp(model_.config(), model_.config().storage.fused_experts, [&](const char* part) {
    const std::string name = fmt::format("layer.{}.experts.{}", layer_, part);
    if (!model_.has(name)) return at::Tensor();
    if (!device_.is_meta()) return model_.load_expert(name, expert, dtype_).to(device_);
    const std::vector<int64_t>& shape = model_.weights().find(name)->shape;
    return at::empty(at::IntArrayRef(shape).slice(1), at::dtype(dtype_).device(device_));
  });
}

const Mlp& LayerExperts::operator[](int64_t expert) {
  const auto [it, is_new] = experts_.try_emplace(expert);
  if (is_new) {
    it->second = loading_.time([&] { return load(expert); });
    if (device_.is_meta()) return it->second;
    const io::Checkpoint& file = model_.checkpoint();
    for_stored(
        expert, [&](const std::string& stored) { file.release(stored); },
        [&](const std::string& stored) { file.release_row(stored, expert); });
    if (on_load_) on_load_(expert, it->second);
  }
  return it->second;
}

void prefetch_layer(const models::Model& model, int64_t layer) {
  const std::string prefix = fmt::format("layer.{}.", layer);
  for (const models::StoredWeight& weight : model.weights().all()) {
    if (weight.of_experts || !std::string_view(weight.name).starts_with(prefix)) continue;
    for (const std::string& stored : weight.stored) model.checkpoint().prefetch(stored);
  }
}

}  // namespace outliers::run
