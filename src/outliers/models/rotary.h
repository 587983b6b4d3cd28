// The frequencies of rotary position embeddings (RoFormer, arXiv 2104.09864, section 3.4.2) and their
// scalings to longer texts. They are computed as transformers computes them, in float32, so that angles at
// far positions agree to the last bit.
#pragma once

#include <ATen/core/Tensor.h>

#include "outliers/models/config.h"

namespace outliers::models {

/// Radians per position, float32 [width / 2], for a text of `tokens` tokens ("dynamic" and "longrope" depend
/// on it). Scalings: linear (position interpolation, arXiv 2306.15595), dynamic (NTK-aware base), llama3
/// (Llama 3.1), yarn (arXiv 2309.00071, eq. 13 and section 3.3), longrope (arXiv 2402.13753).
at::Tensor rotary_frequencies(const Rotary& rotary, int64_t tokens);

/// Whether the scaling is for texts longer than those the frequencies were learnt from.
bool stretches(const Rotary& rotary);

/// YaRN's attention temperature 0.1 * mscale * ln(factor) + 1 (eq. 15); 1 for factors up to 1.
double yarn_attention_factor(double factor, double mscale = 1.0);
/// LongRoPE's sqrt(1 + ln(factor) / ln(original positions)); 1 for factors up to 1.
double longrope_attention_factor(double factor, int64_t original_positions);

}  // namespace outliers::models
