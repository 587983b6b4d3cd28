// The statistics as results.json shows them.
#pragma once

#include <functional>

#include <nlohmann/json.hpp>

#include "outliers/stats/activations.h"
#include "outliers/stats/attention.h"
#include "outliers/stats/weights.h"
#include "outliers/studies/token_names.h"

namespace outliers::studies {

nlohmann::ordered_json to_json(int64_t layer, const stats::ActivationSummary& summary);

/// What results.json calls an expert (run::LayerWeight::expert): null for a layer's own MLP.
nlohmann::ordered_json expert_name(int64_t expert);

/// Gives each of `places` its token's text and class. ids int64 [N,T].
void name_tokens(nlohmann::ordered_json& places, const at::Tensor& ids, const TokenNames& names);

/// The tokens that hold a massive activation, by text and class, the most frequent first: at most
/// kMassiveTexts of them. ids int64 [N,T].
inline constexpr size_t kMassiveTexts = 100;
nlohmann::ordered_json massive_tokens(const stats::ActivationSummary& summary, const at::Tensor& ids,
                                      const TokenNames& names);

nlohmann::ordered_json to_json(const stats::WeightSummary& summary);

/// ids int64 [N,T]: the tokens that the keys stand for.
nlohmann::ordered_json to_json(int64_t layer, const stats::AttentionSummary& summary, const at::Tensor& ids,
                               const TokenNames& names);

}  // namespace outliers::studies
