#include "sample_report.h"

#include <ATen/ATen.h>

#include "outliers/io/npz.h"

#include "support.h"

namespace outliers::tests {

void SampleReport::write(const std::filesystem::path& directory) const {
  std::filesystem::create_directories(directory);
  write_file(directory / "results.json", json.dump(1));
  io::NpzWriter writer(directory / "arrays.npz", true);
  for (const auto& [name, tensor] : arrays) writer.add(name, tensor);
  writer.commit();
}

SampleReport sample_report() {
  using nlohmann::ordered_json;
  constexpr int64_t L = 2, D = 4, F = 6, H = 2, N = 2, T = 5, P = 3;
  const auto place = [](double value, int64_t channel) {
    return ordered_json{{"value", value}, {"sequence", 0}, {"token", 0}, {"channel", channel}};
  };
  const auto points = [&](int64_t channel) {
    ordered_json layers = ordered_json::array();
    for (int64_t l = 0; l < L; ++l) {
      const double max = l == 0 ? 2 : 500;
      layers.push_back(
          {{"layer", l},
           {"max", max},
           {"median", 0.25},
           {"mean", 0.5},
           {"kurtosis_pearson", 9},
           {"infinity_norm", max},
           {"top3_mean", {max, max / 2, 1}},
           {"count", 12},
           {"top", {place(-max, channel)}},
           {"top_channels", {{{"channel", channel}, {"max", max}}, {{"channel", 0}, {"max", 1}}}},
           {"massive", l == 0 ? ordered_json::array() : ordered_json({place(-max, channel)})},
           {"massive_count", l},
           {"nonfinite", 0}});
    }
    return layers;
  };
  const auto line = [](const char* index, const char* position, double value) {
    return ordered_json{{index, 1}, {"ratio", 30}, {position, 3}, {"value", value}};
  };
  const ordered_json weight = {{"score", 30},
                               {"axis", "column"},
                               {"index", 1},
                               {"max", 2},
                               {"mean", 0.1},
                               {"median", 0.05},
                               {"kurtosis_pearson", 20},
                               {"nonfinite", 0},
                               {"top_columns", {line("column", "row", 2)}},
                               {"top_rows", {line("row", "column", 2)}}};
  const ordered_json key = {
      {"sequence", 0}, {"key", 0}, {"score", 2.5}, {"token_text", "Hi"}, {"class", "initial"}};
  const ordered_json write = {
      {"token", 0},
      {"channel", 3},
      {"resid_in", 1},
      {"attention", 0},
      {"mlp", -501},
      {"resid_out", -500},
      {"neurons", {{{"neuron", 1}, {"down_in", 250}, {"weight", -2}, {"product", -500}}}}};

  SampleReport r;
  r.json["schema"] = "outliers-results/1";
  r.json["model"] = {{"name", "sample"},   {"family", "llama"}, {"format", "gguf"}, {"layers", L},
                     {"width", D},         {"heads", H},        {"kv_heads", H},    {"head_width", 2},
                     {"mlp_width", F},     {"vocabulary", 9},   {"positions", 64},  {"parameters", 100},
                     {"weight_bytes", 400}};
  r.json["run"] = {{"version", "0"},
                   {"commit", "0"},
                   {"libtorch", "2"},
                   {"device", "cpu"},
                   {"dtype", "float32"},
                   {"threads", 1},
                   {"bos", "never"},
                   {"sequences", N},
                   {"tokens_per_sequence", T},
                   {"corpus", "a book"},
                   {"seed", 0},
                   {"seconds", {{"load", 1}, {"forward", 1}, {"statistics", 1}, {"report", 0}}},
                   {"first_product_seconds", 0.1},
                   {"peak_host_bytes", 1000},
                   {"peak_device_bytes", 0}};
  r.json["prompt"] = {{"text", "Hi there."},
                      {"ids", {1, 2, 3}},
                      {"tokens", {"Hi", " there", "."}},
                      {"classes", {"initial", "other", "strong_delimiter"}},
                      {"embedding", {{"max", 1}, {"median", 0.1}}},
                      {"kept_tokens", P}};
  for (const char* batch : {"prompt", "corpus"}) {
    r.json["activations"][batch]["resid_out"] = points(3);
    r.json["activations"][batch]["down_in"] = points(1);
  }
  ordered_json attention = ordered_json::array();
  for (int64_t l = 0; l < L; ++l) {
    r.json["weights"].push_back({{"layer", l}, {"modules", ordered_json::object()}});
    for (const char* module : {"q", "k", "v", "o", "gate", "up", "down"})
      r.json["weights"][static_cast<size_t>(l)]["modules"][module] = weight;
    r.json["writes"].push_back({{"layer", l}, {"largest", write}});
    ordered_json heads = ordered_json::array();
    for (int64_t h = 0; h < H; ++h)
      heads.push_back({{"head", h}, {"outlier_share", 0.25 + 0.5 * h}, {"sink_rate", 0.5}});
    attention.push_back({{"layer", l},
                         {"top_keys", {key}},
                         {"outlier_keys", {key}},
                         {"median", 0.5},
                         {"top3_mean", {2.5, 1.0, 0.5}},
                         {"heads", heads},
                         {"nonfinite", 0}});
  }
  r.json["attention"] = {{"prompt", {{"probs_mean", "prompt.attention.probs_mean"}, {"layers", attention}}},
                         {"corpus", attention}};
  r.json["summary"] = {
      {"found", true},
      {"born_layer", 1},
      {"peak_layer", 1},
      {"removed_layer", nullptr},
      {"massive_channels", {3}},
      {"massive_tokens",
       {{{"token", 0}, {"text", "Hi"}, {"class", "initial"}, {"first_layer", 1}, {"last_layer", 1}}}},
      {"alignment", {{"weight_activation", 1}, {"activation_attention", nullptr}}},
      {"headroom", {{"resid_out", nullptr}, {"down_in", nullptr}}}};
  r.json["definitions"] = ordered_json::object();

  const auto ones = [](std::vector<int64_t> shape) { return at::ones(shape, at::kFloat); };
  r.arrays = {{"corpus.ids", at::ones({N, T}, at::kLong)},
              {"corpus.resid_out.channel_max", ones({L, D})},
              {"corpus.resid_out.token_max", ones({L, N, T})},
              {"corpus.down_in.channel_max", ones({L, F})},
              {"corpus.down_in.token_max", ones({L, N, T})},
              {"corpus.attention.key_scores", ones({L, N, T})},
              {"prompt.resid_out.channel_max", ones({L, D})},
              {"prompt.resid_out.token_max", ones({L, 1, P})},
              {"prompt.down_in.channel_max", ones({L, F})},
              {"prompt.down_in.token_max", ones({L, 1, P})},
              {"prompt.attention.key_scores", ones({L, 1, P})},
              {"prompt.resid_out", ones({L, P, D})},
              {"prompt.down_in", ones({L, P, F})},
              {"prompt.attention.probs", ones({L, H, P, P}) / P},
              {"prompt.attention.probs_mean", ones({L, P, P}) / P},
              {"weights.down.columns", ones({L, 13, D})},
              {"weights.down.column_index", at::full({L, 13}, -1, at::kLong)}};
  r.arrays["weights.down.column_index"].narrow(1, 0, 4).copy_(at::tensor({0, 1, 2, 5}, at::kLong));
  r.arrays["prompt.resid_out"][1][0][3] = -500;
  r.arrays["prompt.down_in"][1][0][1] = 250;
  return r;
}

}  // namespace outliers::tests
