#include "outliers/studies/to_json.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/run/runner.h"

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

ordered_json keys(const std::vector<stats::KeyScore>& list, const at::Tensor& ids, const TokenNames& names) {
  const auto id = ids.accessor<int64_t, 2>();
  ordered_json result = ordered_json::array();
  for (const stats::KeyScore& key : list) {
    const int64_t token = id[key.sequence][key.key];
    result.push_back({{"sequence", key.sequence},
                      {"key", key.key},
                      {"score", key.score},
                      {"token_text", names.text(token)},
                      {"class", names.kind(token, key.key)}});
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

ordered_json expert_name(int64_t expert) {
  if (expert == run::kNoExpert) return nullptr;
  return expert == run::kSharedExpert ? ordered_json("shared") : ordered_json(expert);
}

void name_tokens(ordered_json& places, const at::Tensor& ids, const TokenNames& names) {
  const auto id = ids.accessor<int64_t, 2>();
  for (ordered_json& place : places) {
    const auto position = place["token"].get<int64_t>();
    const int64_t token = id[place["sequence"].get<int64_t>()][position];
    place["token_text"] = names.text(token);
    place["class"] = names.kind(token, position);
  }
}

ordered_json massive_tokens(const stats::ActivationSummary& s, const at::Tensor& ids,
                            const TokenNames& names) {
  const stats::ActivationOptions options;
  const double above = std::max(options.massive_above, options.massive_ratio * s.median);
  const auto id = ids.accessor<int64_t, 2>();
  const auto max = s.token_max.accessor<float, 2>();
  std::map<std::pair<int64_t, bool>, int64_t> counts;  // by id, and whether it is the first of its window
  for (int64_t n = 0; n < ids.size(0); ++n) {
    for (int64_t t = 0; t < ids.size(1); ++t) {
      if (max[n][t] > above) ++counts[{id[n][t], t == 0}];
    }
  }
  std::vector<std::pair<int64_t, std::pair<int64_t, bool>>> order;
  for (const auto& [token, count] : counts) order.emplace_back(-count, token);
  std::sort(order.begin(), order.end());
  order.resize(std::min(order.size(), kMassiveTexts));
  ordered_json result = ordered_json::array();
  for (const auto& [count, token] : order) {
    const auto [number, first] = token;
    result.push_back({{"token_text", names.text(number)},
                      {"class", names.kind(number, first ? 0 : 1)},
                      {"count", -count}});
  }
  return result;
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
                     const TokenNames& names) {
  ordered_json heads = ordered_json::array();
  for (size_t h = 0; h < s.heads.size(); ++h) {
    heads.push_back(
        {{"head", h}, {"outlier_share", s.heads[h].outlier_share}, {"sink_rate", s.heads[h].sink_rate}});
  }
  return {{"layer", layer},
          {"top_keys", keys(s.top_keys, ids, names)},
          {"outlier_keys", keys(s.outlier_keys, ids, names)},
          {"median", s.median},
          {"top3_mean", s.top3_mean},
          {"heads", heads},
          {"nonfinite", s.nonfinite}};
}

}  // namespace outliers::studies
