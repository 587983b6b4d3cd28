// What the files of this folder are written with.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "outliers/models/families.h"

namespace outliers::models {

/// Where a GGUF keeps the rows in the order of interleaved rotary pairs.
inline WeightRow gguf_permuted(WeightRow row) {
  row.gguf_transform = Transform::unpermute;
  return row;
}

/// What a Hugging Face folder keeps otherwise than we do.
inline WeightRow hugging_face(Transform transform, WeightRow row) {
  row.hugging_face_transform = transform;
  return row;
}

/// The matrix that gives the logits, where it is not the embedding; its bias stands by itself.
inline WeightRow head(const char* hugging_face, const char* shape = "[V, D]", Condition bias = nullptr) {
  constexpr Condition kOwn = [](const Config& c) { return has_head(c) && !c.tied_embeddings; };
  return {"head", hugging_face, "output", shape, bias, kOwn, Transform::none, Transform::none, true};
}

/// The keys of a rotary, which most classes read, and `others`.
inline std::vector<std::string_view> rotary_keys_and(std::initializer_list<std::string_view> others) {
  std::vector<std::string_view> keys = {"rope_theta", "rope_scaling", "rope_parameters",
                                        "original_max_position_embeddings"};
  keys.insert(keys.end(), others);
  return keys;
}

/// The names of Llama and of the many families that differ from it in traits alone.
std::vector<WeightRow> llama_weights(Transform gguf_queries_and_keys);
/// The names of Gemma 2, with norms before and after attention and MLP.
std::vector<WeightRow> gemma2_weights();

/// What the families of ViT share, which transformers gives the names of BERT: config.json's keys, the
/// traits, the names but for those of a layer's norms and MLP.
Family vit_like_family();

/// What Hugging Face calls the modules of a mixture of experts, by the names of WeightRow.
struct ExpertNames {
  const char *router, *gate, *up, *down;  ///< where each expert is stored apart
  const char *stacked_router, *gate_up,
      *stacked_down;  ///< where all are one tensor, as newer versions save them
};
/// The rows of a model whose MLP is of experts in some layers or all; the gate, up and down of `rows` are
/// those of the other layers. `stacked`: what the one tensor needs to be [E, out, in].
std::vector<WeightRow> with_experts(std::vector<WeightRow> rows, const ExpertNames& names,
                                    Condition bias = nullptr, Transform stacked = Transform::none);

/// Those of Qwen 2 and 3 with experts, but for shared ones and norms of queries and keys.
std::vector<WeightRow> qwen_expert_weights();

/// Throws for a head_dim other than D / H in config.json: of a family whose class takes it for the rotary
/// alone.
void require_even_heads(const Fields& fields, const Config& config);

/// ALiBi's slope of each head (arXiv 2108.12409, section 3): 2^(-bias * i / n), i = 1 .. n, for n heads; for
/// another number than a power of two, every second one of the next power first, then the others.
std::vector<double> alibi_slopes(int64_t heads, double bias = 8.0);

}  // namespace outliers::models
