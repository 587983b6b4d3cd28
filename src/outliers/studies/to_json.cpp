#include "outliers/studies/to_json.h"

#include <ATen/core/Tensor.h>

#include "outliers/text/token_class.h"

namespace outliers::studies {
namespace {

using nlohmann::ordered_json;

ordered_json values(const std::vector<stats::ActivationValue>& list) {
  ordered_json result = ordered_json::array();
  for (const stats::ActivationValue& v : list) {
    result.push_back(
        {{"value", v.value}, {"sequence", v.sequence}, {"token", v.token}, {"channel", v.channel}});
  }
  return result;
}

/// `index` and `position` name the line and the place in it: column and row, or row and column.
ordered_json lines(const std::vector<stats::WeightLine>& list, const char* index, const char* position) {
  ordered_json result = ordered_json::array();
  for (const stats::WeightLine& line : list) {
    result.push_back(
        {{index, line.index}, {"ratio", line.ratio}, {position, line.position}, {"value", line.value}});
  }
  return result;
}

ordered_json keys(const std::vector<stats::KeyScore>& list, const at::Tensor& ids,
                  const text::Tokenizer& tokenizer) {
  const auto id = ids.accessor<int64_t, 2>();
  ordered_json result = ordered_json::array();
  for (const stats::KeyScore& key : list) {
    const auto token = static_cast<int32_t>(id[key.sequence][key.key]);
    result.push_back({{"sequence", key.sequence},
                      {"key", key.key},
                      {"score", key.score},
                      {"token_text", tokenizer.display(token)},
                      {"class", token_class_name(token_class(tokenizer, token, key.key))}});
  }
  return result;
}

}  // namespace

ordered_json to_json(int64_t layer, const stats::ActivationSummary& s) {
  ordered_json channels = ordered_json::array();
  for (const stats::ChannelMax& c : s.top_channels) {
    channels.push_back({{"channel", c.channel}, {"max", c.max}});
  }
  return {{"layer", layer},
          {"max", s.max},
          {"median", s.median},
          {"mean", s.mean},
          {"kurtosis_pearson", s.kurtosis_pearson},
          {"infinity_norm", s.infinity_norm},
          {"top3_mean", s.top3_mean},
          {"count", s.count},
          {"top", values(s.top)},
          {"top_channels", channels},
          {"massive", values(s.massive)},
          {"massive_count", s.massive_count},
          {"nonfinite", s.nan_count + s.inf_count}};
}

ordered_json to_json(const stats::WeightSummary& s) {
  return {{"score", s.score},
          {"axis", s.score_is_row ? "row" : "column"},
          {"index", s.score_index},
          {"max", s.max},
          {"mean", s.mean},
          {"median", s.median},
          {"kurtosis_pearson", s.kurtosis_pearson},
          {"nonfinite", s.nonfinite},
          {"top_columns", lines(s.top_columns, "column", "row")},
          {"top_rows", lines(s.top_rows, "row", "column")}};
}

ordered_json to_json(int64_t layer, const stats::AttentionSummary& s, const at::Tensor& ids,
                     const text::Tokenizer& tokenizer) {
  ordered_json heads = ordered_json::array();
  for (size_t h = 0; h < s.heads.size(); ++h) {
    heads.push_back(
        {{"head", h}, {"outlier_share", s.heads[h].outlier_share}, {"sink_rate", s.heads[h].sink_rate}});
  }
  return {{"layer", layer},
          {"top_keys", keys(s.top_keys, ids, tokenizer)},
          {"outlier_keys", keys(s.outlier_keys, ids, tokenizer)},
          {"median", s.median},
          {"top3_mean", s.top3_mean},
          {"heads", heads},
          {"nonfinite", s.nonfinite}};
}

}  // namespace outliers::studies
