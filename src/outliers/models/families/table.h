// What the files of this folder are written with.
#pragma once

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

/// The matrix that gives the logits; where it is the embedding, files may store it all the same.
inline WeightRow head(const char* hugging_face, const char* shape = "[V, D]", Condition bias = nullptr) {
  return {"head",          hugging_face,    "output", shape, bias, lacks<&Config::tied_embeddings>,
          Transform::none, Transform::none, true};
}

/// The names of Llama and of the many families that differ from it in traits alone.
std::vector<WeightRow> llama_weights(Transform gguf_queries_and_keys);
/// The names of Gemma 2, with norms before and after attention and MLP.
std::vector<WeightRow> gemma2_weights();

/// ALiBi's slope of each head (arXiv 2108.12409, section 3): 2^(-bias * i / n), i = 1 .. n, for n heads; for
/// another number than a power of two, every second one of the next power first, then the others.
std::vector<double> alibi_slopes(int64_t heads, double bias = 8.0);

}  // namespace outliers::models
