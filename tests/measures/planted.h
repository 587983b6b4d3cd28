// A Llama of two layers whose weights are set by hand, so that it is known beforehand which token, channel,
// neuron and key stand out where.
//
// Every token has 1 in channel 0 and in the channel of its own kind: `kFirst` in 4, `kSink` in 5, others in
// 8..15. Layer 0: neuron 1 reads channel 4 and writes a large value to channel 3, so the first token is an
// outlier there. Layer 1: head 0 looks at what has channel 3, head 1 at what has channel 5; neuron 2 reads
// channel 3, takes a part of it away and writes a larger value to channel 6.
#pragma once

#include <cmath>
#include <map>
#include <string>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "outliers/io/safetensors.h"
#include "outliers/models/model.h"

#include "support.h"

namespace outliers::tests {

class Planted {
 public:
  static constexpr int64_t kFirst = 0, kSink = 1, kOthers = 2, kVocabulary = 10;
  static constexpr int64_t D = 32, F = 24, H = 2, d = 4, kTokens = 64;
  static constexpr double kGain = 2, kEpsilon = 1e-5, kBorn = 1e4, kTaken = -2000, kWritten = 6000;

  Planted() {
    const auto zeros = [&](const std::string& name, at::IntArrayRef shape) {
      return tensors_[name] = at::zeros(shape);
    };
    at::Tensor embedding = zeros("model.embed_tokens.weight", {kVocabulary, D});
    embedding.select(1, 0).fill_(1);
    for (int64_t id = 0; id < kVocabulary; ++id) embedding[id][id < kOthers ? 4 + id : 6 + id] = 1;
    tensors_["model.norm.weight"] = at::ones({D});
    zeros("lm_head.weight", {kVocabulary, D});
    for (int64_t layer = 0; layer < 2; ++layer) {
      const std::string p = fmt::format("model.layers.{}.", layer);
      tensors_[p + "input_layernorm.weight"] = at::ones({D});
      tensors_[p + "post_attention_layernorm.weight"] = at::ones({D});
      for (const char* name : {"q_proj", "k_proj", "v_proj"})
        zeros(p + "self_attn." + name + ".weight", {H * d, D});
      zeros(p + "self_attn.o_proj.weight", {D, H * d});
      for (const char* name : {"gate_proj", "up_proj"}) zeros(p + "mlp." + name + ".weight", {F, D});
      zeros(p + "mlp.down_proj.weight", {D, F});
    }
    // Of a head's four dimensions the second and the fourth turn so slowly that they stand still.
    at::Tensor query = weight(1, "self_attn.q_proj"), key = weight(1, "self_attn.k_proj");
    for (int64_t head = 0; head < H; ++head) query[head * d + 1][0] = kGain;
    key[0 * d + 1][3] = kGain;
    key[1 * d + 1][5] = kGain;
    reads(0, 1, 4);
    weight(0, "mlp.down_proj")[3][1] = kBorn;
    reads(1, 2, 3);
    weight(1, "mlp.down_proj")[3][2] = kTaken;
    weight(1, "mlp.down_proj")[6][2] = kWritten;
    weight(1, "mlp.down_proj")[7][3] = 1;  // a column that stands out more, of a neuron that stays silent
  }

  std::unique_ptr<models::Model> open() const {
    const nlohmann::json config = {{"architectures", {"LlamaForCausalLM"}},
                                   {"model_type", "llama"},
                                   {"hidden_size", D},
                                   {"num_hidden_layers", 2},
                                   {"num_attention_heads", H},
                                   {"num_key_value_heads", H},
                                   {"head_dim", d},
                                   {"intermediate_size", F},
                                   {"vocab_size", kVocabulary},
                                   {"max_position_embeddings", kTokens},
                                   {"rms_norm_eps", kEpsilon},
                                   {"rope_theta", 1e30},
                                   {"hidden_act", "silu"},
                                   {"tie_word_embeddings", false},
                                   {"attention_bias", false},
                                   {"mlp_bias", false}};
    write_file(scratch_ / "config.json", config.dump());
    std::vector<io::TensorPlan> plan;
    for (const auto& [name, tensor] : tensors_)
      plan.push_back({name, tensor.sizes().vec(), tensor.scalar_type()});
    io::SafetensorsWriter writer(scratch_ / "model.safetensors", true, plan);
    for (const auto& [name, tensor] : tensors_) writer.add(name, tensor);
    writer.commit();
    return models::Model::open(scratch_.path());
  }

  /// W of "mlp.down_proj", ..., to be changed before open().
  at::Tensor weight(int64_t layer, const std::string& module) {
    return tensors_.at(fmt::format("model.layers.{}.{}.weight", layer, module));
  }

  /// Any tensor by its name in the checkpoint.
  at::Tensor tensor(const std::string& name) { return tensors_.at(name); }

  /// kFirst, and then others, with kSink at `sink` (0: none): int64 [kTokens].
  static at::Tensor sequence(int64_t sink) {
    at::Tensor ids = at::arange(kTokens, at::kLong).remainder(kVocabulary - kOthers) + kOthers;
    ids[0] = kFirst;
    if (sink > 0) ids[sink] = kSink;
    return ids;
  }

  /// What neuron 1 of layer 0 and neuron 2 of layer 1 are at the first token.
  static double born() { return neuron(1 / std::sqrt(2.0 / D + kEpsilon)); }
  /// `part`: of a neuron that reads so much of the channel.
  static double taken(double part = 1) {
    const double value = kBorn * born();
    return neuron(part * value / std::sqrt((value * value + 2) / D + kEpsilon));
  }

 private:
  static double neuron(double x) { return x / (1 + std::exp(-x)) * x; }
  void reads(int64_t layer, int64_t neuron, int64_t channel) {
    for (const char* name : {"mlp.gate_proj", "mlp.up_proj"}) weight(layer, name)[neuron][channel] = 1;
  }

  ScratchDirectory scratch_;
  std::map<std::string, at::Tensor> tensors_;
};

}  // namespace outliers::tests
