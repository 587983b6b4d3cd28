#include "sample_report.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "outliers/io/npz.h"
#include "outliers/results/field.h"
#include "outliers/results/json.h"

#include "support.h"

namespace outliers::tests {
namespace {

constexpr int64_t L = 2, D = 4, F = 6, H = 2, N = 2, T = 5, P = 3;

results::Activations point(int64_t layer, int64_t channel) {
  const double max = layer == 0 ? 2 : 500;
  const results::Place place{
      .value = -max, .channel = channel, .expert = {}, .token_text = {}, .token_class = {}};
  results::Activations x;
  x.max = x.infinity_norm = max;
  x.median = 0.25;
  x.mean = 0.5;
  x.kurtosis_pearson = 9;
  x.top3_mean = {max, max / 2, 1};
  x.count = 12;
  x.top = {place};
  x.top_channels = {{channel, max, {}}, {0, 1, {}}};
  if (layer > 0) x.massive = {place};
  x.massive_count = layer;
  if (layer > 0) x.massive_tokens = {{"Hi", "initial", 1}};
  return x;
}

results::Attention attention() {
  const results::Key key{.score = 2.5, .token_text = "Hi", .token_class = "initial"};
  results::Attention x;
  x.top_keys = x.outlier_keys = {key};
  x.median = 0.5;
  x.top3_mean = {2.5, 1.0, 0.5};
  for (int64_t h = 0; h < H; ++h) x.heads.push_back({h, 0.25 + 0.5 * static_cast<double>(h), 0.5});
  return x;
}

results::Writes writes() {
  results::Writes x;
  x.largest = {0, 3, 1, 0, -501, -500, {{1, 250, -2, -500, {}, {}}}};
  return x;
}

results::Weights weights() {
  results::Weight w;
  w.score = 30;
  w.index = 1;
  w.max = 2;
  w.mean = 0.1;
  w.median = 0.05;
  w.kurtosis_pearson = 20;
  w.top_columns = {{1, 30, 3, 2}};
  w.top_rows = {{1, 30, 3, 2}};
  results::Weights x;
  for (const char* module : {"q", "k", "v", "o", "gate", "up", "down"}) x.modules[module] = w;
  return x;
}

/// By the letters of results::array_table(), in whose arrays all is 1.
at::Tensor ones_of(const results::ArrayField& field, const results::Input& input) {
  std::vector<int64_t> shape;
  const std::map<char, int64_t> sizes = {{'L', L},
                                         {'D', D},
                                         {'F', F},
                                         {'H', H},
                                         {'N', input.sequences},
                                         {'T', input.tokens_per_sequence},
                                         {'K', input.kept_tokens}};
  for (const char* letter = field.shape; *letter != '\0'; ++letter) {
    if (sizes.count(*letter) > 0) shape.push_back(sizes.at(*letter));
  }
  return at::ones(shape, std::string(field.name) == "ids" ? at::kLong : at::kFloat);
}

}  // namespace

void SampleReport::write(const std::filesystem::path& directory) const {
  std::filesystem::create_directories(directory);
  write_file(directory / "results.json", results::to_text(data));
  io::NpzWriter writer(directory / "arrays.npz", true);
  for (const auto& [name, tensor] : arrays) writer.add(name, tensor);
  writer.commit();
}

SampleReport sample_report() {
  SampleReport r;
  results::Model& m = r.data.model;
  m.name = "sample";
  m.family = "llama";
  m.format = "gguf";
  m.layers = L;
  m.width = D;
  m.heads = m.kv_heads = H;
  m.head_width = 2;
  m.mlp_width = F;
  m.vocabulary = 9;
  m.positions = 64;
  m.parameters = 100;
  m.weight_bytes = 400;
  results::Run& run = r.data.run;
  run.version = run.commit = "0";
  run.libtorch = "2";
  run.device = "cpu";
  run.dtype = "float32";
  run.bos = "never";
  run.measures = {"activations", "attention",     "attention_maps", "weights",  "experts",
                  "writes",      "prompt_values", "alignment",      "positions"};
  run.seconds = {1, 1, 1, 0};
  run.first_product_seconds = 0.1;
  run.peak_host_bytes = 1000;

  results::Input prompt{.name = "prompt",
                        .kind = results::InputKind::prompt,
                        .source = "Hi there.",
                        .tokens_per_sequence = P,
                        .ids = {1, 2, 3},
                        .tokens = {"Hi", " there", "."},
                        .classes = {"initial", "other", "strong_delimiter"},
                        .kept_tokens = P,
                        .attention_maps = true,
                        .embedding = results::Extent{1, 0.1},
                        .amax = {}};
  results::Input corpus{.name = "corpus",
                        .source = "a book",
                        .sequences = N,
                        .tokens_per_sequence = T,
                        .ids = {},
                        .tokens = {},
                        .classes = {},
                        .embedding = {},
                        .amax = {}};
  r.data.inputs = {prompt, corpus};
  for (int64_t l = 0; l < L; ++l) {
    results::Layer layer;
    layer.layer = l;
    layer.weights = weights();
    for (const results::Input& input : r.data.inputs) {
      results::LayerInput& x = layer.inputs[input.name];
      x.resid_out = point(l, 3);
      x.down_in = point(l, 1);
      x.attention = attention();
      if (input.is_prompt()) x.writes = writes();
    }
    r.data.layers.push_back(std::move(layer));
  }
  results::Life life;
  life.input = "prompt";
  life.found = true;
  life.born_layer = life.peak_layer = 1;
  life.massive_channels = {3};
  life.massive_tokens = {{0, "Hi", "initial", 1, 1}};
  r.data.summary.lives = {life};
  r.data.summary.alignment.weight_activation = 1;
  r.data.summary.sink_rate = 0.5;
  for (const char* name : results::kPoints) r.data.summary.headroom[name];
  r.data.definitions = results::definitions(r.data.criteria);

  using Of = results::ArrayField::Of;
  for (const results::ArrayField& field : results::array_table()) {
    if (field.of == Of::images) continue;
    if (field.of == Of::model) r.arrays[field.name] = at::ones({L, 13, D});
    for (const results::Input& input : r.data.inputs) {
      const bool of_prompt = field.of == Of::prompt || field.of == Of::prompt_with_maps;
      if (field.of == Of::input || (input.is_prompt() ? of_prompt : field.of == Of::corpus))
        r.arrays[fmt::format("{}.{}", input.name, field.name)] = ones_of(field, input);
    }
  }
  for (const char* maps : {"prompt.attention.probs", "prompt.attention.probs_mean"}) r.arrays[maps] /= P;
  r.arrays["weights.down.column_index"] = at::full({L, 13}, -1, at::kLong);
  r.arrays["weights.down.column_index"].narrow(1, 0, 4).copy_(at::tensor({0, 1, 2, 5}, at::kLong));
  r.arrays["prompt.resid_out"][1][0][3] = -500;
  r.arrays["prompt.down_in"][1][0][1] = 250;
  return r;
}

void add_input(SampleReport& r, const std::string& name, const std::string& like) {
  results::Input input = *r.data.input(like);
  input.name = name;
  input.source += " again";
  r.data.inputs.push_back(input);
  for (results::Layer& layer : r.data.layers) {
    const results::LayerInput copy = *layer.inputs.find(like);
    layer.inputs[name] = copy;
  }
  const auto arrays = r.arrays;
  for (const auto& [array, tensor] : arrays) {
    if (array.starts_with(like + ".")) r.arrays[name + array.substr(like.size())] = tensor.clone();
  }
  if (!input.is_prompt()) return;
  results::Life life = r.data.summary.lives.front();
  life.input = name;
  r.data.summary.lives.push_back(life);
}

void leave_out(SampleReport& r, const std::string& measure) {
  std::erase(r.data.run.measures, measure);
  for (const results::ArrayField& field : results::array_table()) {
    if (measure != field.measure) continue;
    std::erase_if(r.arrays, [&](const auto& array) {
      return array.first == field.name || array.first.ends_with(std::string(".") + field.name);
    });
  }
  if (measure == "activations") {
    r.data.summary.lives.clear();
    r.data.summary.headroom = {};
  }
  if (measure == "attention") r.data.summary.sink_rate.reset();
  for (results::Input& input : r.data.inputs) {
    if (measure == "attention_maps") input.attention_maps = false;
    if (measure == "prompt_values") input.kept_tokens = 0;
  }
  for (results::Layer& layer : r.data.layers) {
    if (measure == "weights") layer.weights.reset();
    for (auto& [name, x] : layer.inputs) {
      if (measure == "activations") {
        x.resid_out.reset();
        x.down_in.reset();
      }
      if (measure == "attention") x.attention.reset();
      if (measure == "writes") x.writes.reset();
    }
  }
}

void add_value(SampleReport& r, const std::string& name, const std::string& shape) {
  r.data.run.measures.push_back("extra");
  r.data.definitions["layers[].inputs.*.values." + name] = {shape, "Title of " + name, "what " + name + " is",
                                                            "a paper"};
  for (results::Layer& layer : r.data.layers) {
    for (auto& [input, x] : layer.inputs) {
      for (int64_t h = 0; h < (shape == "[H]" ? H : 1); ++h)
        x.values[name].push_back(static_cast<double>(layer.layer) + static_cast<double>(h) / 10);
    }
  }
}

}  // namespace outliers::tests
