// What the files of this folder are written with.
#pragma once

#include <vector>

#include "outliers/models/families.h"

namespace outliers::models {

/// GGUF's writers keep the rows of these in the order of interleaved rotary pairs.
inline WeightRow gguf_permuted(WeightRow row) {
  row.gguf_transform = Transform::unpermute;
  return row;
}

inline WeightRow hugging_face_order(Transform transform, WeightRow row) {
  row.hugging_face_transform = transform;
  return row;
}

/// The matrix that gives the logits; where it is the embedding, files may still store it.
inline WeightRow head(const char* hugging_face, const char* shape = "[V, D]", Condition bias = nullptr) {
  return {"head",          hugging_face,    "output", shape, bias, lacks<&Config::tied_embeddings>,
          Transform::none, Transform::none, true};
}

/// The names of Llama and of the many families that differ from it in traits alone.
std::vector<WeightRow> llama_weights(Transform gguf_queries_and_keys);

}  // namespace outliers::models
