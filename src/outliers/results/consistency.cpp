#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "outliers/results/consistency_rules.h"
#include "outliers/results/json_read.h"

namespace outliers::results {
namespace {

class Consistency : ConsistencyRules {
 public:
  using ConsistencyRules::ConsistencyRules;

  void check() const {
    inputs();
    count(r_.layers.size(), m_.layers, "layers", "model.layers");
    for (size_t l = 0; l < r_.layers.size(); ++l) layer(l);
    if (r_.images) images(*r_.images);
    summary();
    if (r_.lifecycle) lifecycle(*r_.lifecycle);
    for (size_t i = 0; r_.findings && i < r_.findings->size(); ++i)
      place((*r_.findings)[i].place, at("findings", i) + ".place");
  }

 private:
  void inputs() const {
    std::set<std::string> names;
    for (size_t i = 0; i < r_.inputs.size(); ++i) {
      const Input& input = r_.inputs[i];
      const std::string path = at("inputs", i), tokens = path + ".tokens_per_sequence";
      require(names.insert(input.name).second, "{}.name is {}, as of another input", path, input.name);
      for (const auto& [point, x] : input.amax) amax(x, input, path + ".amax." + point);
      if (!input.is_prompt()) continue;
      require(input.sequences == 1, "{} is a prompt of {} sequences; a prompt has one", path,
              input.sequences);
      count(input.ids.size(), input.tokens_per_sequence, path + ".ids", tokens);
      count(input.tokens.size(), input.tokens_per_sequence, path + ".tokens", tokens);
      count(input.classes.size(), input.tokens_per_sequence, path + ".classes", tokens);
      require(input.kept_tokens <= input.tokens_per_sequence, "{}.kept_tokens is {}, but there are only {}",
              path, input.kept_tokens, input.tokens_per_sequence);
    }
  }

  void layer(size_t l) const {
    const Layer &layer = r_.layers[l], &first = r_.layers.front();
    const std::string path = at("layers", l);
    require(layer.layer == static_cast<int64_t>(l), "{}.layer is {}; layers stand in order, from 0", path,
            layer.layer);
    const auto as_first = [&](bool here, bool there, const std::string& what) {
      require(here == there, "{} {} {}, unlike layer 0", path, here ? "has" : "lacks", what);
    };
    as_first(layer.weights.has_value(), first.weights.has_value(), "weights");
    if (layer.weights) weights(*layer.weights, path + ".weights");
    count(layer.inputs.size(), static_cast<int64_t>(r_.inputs.size()), path + ".inputs", "inputs");
    for (const Input& input : r_.inputs) {
      const std::string name = path + ".inputs." + input.name;
      const LayerInput *here = layer.inputs.find(input.name), *there = first.inputs.find(input.name);
      require(here != nullptr, "{} is missing", name);
      as_first(here->resid_out.has_value(), there->resid_out.has_value(), "resid_out of " + input.name);
      as_first(here->down_in.has_value(), there->down_in.has_value(), "down_in of " + input.name);
      as_first(here->attention.has_value(), there->attention.has_value(), "attention of " + input.name);
      as_first(here->writes.has_value(), there->writes.has_value(), "writes of " + input.name);
      as_first(here->norms.has_value(), there->norms.has_value(), "norms of " + input.name);
      measured(*here, input, name);
    }
  }

  void measured(const LayerInput& x, const Input& input, const std::string& path) const {
    if (x.resid_out) activations(*x.resid_out, input, m_.width, path + ".resid_out");
    if (x.down_in) activations(*x.down_in, input, m_.mlp_width, path + ".down_in");
    if (x.attention) attention(*x.attention, input, path + ".attention");
    if (x.writes) {
      require(input.is_prompt(), "{}.writes is not of a prompt", path);
      write(x.writes->largest, input, path + ".writes.largest");
      if (x.writes->followed) write(*x.writes->followed, input, path + ".writes.followed");
    }
    if (x.norms) norms(*x.norms, input, path + ".norms");
    for (size_t i = 0; i < x.experts.size(); ++i)
      expert(x.experts[i].expert, at(path + ".experts", i) + ".expert");
    for (const auto& [point, largest] : x.amax) amax(largest, input, path + ".amax." + point);
    values(x.values, input, path + ".values.");
  }

  /// Shapes that later versions add are left alone.
  void values(const Values& x, const Input& input, const std::string& path) const {
    const std::pair<const char*, int64_t> sizes[] = {{"[]", 1},
                                                     {"[H]", m_.heads},
                                                     {"[D]", m_.width},
                                                     {"[F]", m_.mlp_width},
                                                     {"[N]", input.sequences},
                                                     {"[T]", input.tokens_per_sequence}};
    for (const auto& [name, list] : x) {
      const Definition* definition = r_.value_definition(name);
      const std::string shown = path + printable(name, 40);
      require(definition != nullptr, "{} is not in definitions", shown);
      for (const auto& [shape, size] : sizes) {
        if (definition->shape != shape) continue;
        require(static_cast<int64_t>(list.size()) == size, "{} has {} entries, but its shape {} here is {}",
                shown, list.size(), shape, size);
      }
    }
  }

  void activations(const Activations& x, const Input& input, int64_t channels,
                   const std::string& path) const {
    const auto places = [&](const std::vector<Place>& list, const std::string& name) {
      for (size_t i = 0; i < list.size(); ++i) {
        below(list[i].sequence, input.sequences, at(name, i) + ".sequence");
        below(list[i].token, input.tokens_per_sequence, at(name, i) + ".token");
        below(list[i].channel, channels, at(name, i) + ".channel");
        expert(list[i].expert, at(name, i) + ".expert");
      }
    };
    places(x.top, path + ".top");
    places(x.massive, path + ".massive");
    for (size_t i = 0; i < x.top_channels.size(); ++i) {
      const std::string name = at(path + ".top_channels", i);
      below(x.top_channels[i].channel, channels, name + ".channel");
      expert(x.top_channels[i].expert, name + ".expert");
    }
  }

  void attention(const Attention& x, const Input& input, const std::string& path) const {
    count(x.heads.size(), m_.heads, path + ".heads", "model.heads");
    for (size_t h = 0; h < x.heads.size(); ++h) {
      require(x.heads[h].head == static_cast<int64_t>(h), "{}.head is {}; heads stand in order, from 0",
              at(path + ".heads", h), x.heads[h].head);
    }
    const auto keys = [&](const std::vector<Key>& list, const std::string& name) {
      for (size_t i = 0; i < list.size(); ++i) {
        below(list[i].sequence, input.sequences, at(name, i) + ".sequence");
        below(list[i].key, input.tokens_per_sequence, at(name, i) + ".key");
      }
    };
    keys(x.top_keys, path + ".top_keys");
    keys(x.outlier_keys, path + ".outlier_keys");
  }

  void write(const Write& x, const Input& input, const std::string& path) const {
    below(x.token, input.tokens_per_sequence, path + ".token");
    below(x.channel, m_.width, path + ".channel");
    for (size_t i = 0; i < x.neurons.size(); ++i) {
      const std::string name = at(path + ".neurons", i);
      below(x.neurons[i].neuron, m_.mlp_width, name + ".neuron");
      expert(x.neurons[i].expert, name + ".expert");
    }
  }

  /// An Amax or an Overflow.
  template <typename Place>
  void amax(const Place& x, const Input& input, const std::string& path) const {
    below(x.sequence, input.sequences, path + ".sequence");
    below(x.token, input.tokens_per_sequence, path + ".token");
    below(x.head, m_.heads, path + ".head");
    expert(x.expert, path + ".expert");
  }

  void norms(const Norms& x, const Input& input, const std::string& path) const {
    require(r_.images.has_value(), "{} stands where there are no images", path);
    below(x.patches.largest.sequence, input.sequences, path + ".patches.largest.sequence");
    below(x.patches.largest.token, input.tokens_per_sequence, path + ".patches.largest.token");
    const int64_t registers = r_.images->registers;
    require(x.registers.has_value() == (registers > 0), "{}: registers stand where the model has some", path);
    if (x.registers) count(x.registers->each.size(), registers, path + ".registers.each", "images.registers");
  }

  void weights(const Weights& x, const std::string& path) const {
    for (const char* name : {"q", "k", "v", "o", "up", "down"})
      require(x.modules.contains(name), "{}.modules.{} is missing", path, name);
    for (const auto& [name, module] : x.modules) expert(module.expert, path + ".modules." + name + ".expert");
    const std::string down = path + ".modules.down.top_columns";
    const std::vector<ColumnLine>& columns = x.modules.find("down")->top_columns;
    for (size_t i = 0; i < columns.size(); ++i) {
      below(columns[i].column, m_.mlp_width, at(down, i) + ".column");
      below(columns[i].row, m_.width, at(down, i) + ".row");
    }
    for (size_t i = 0; i < x.experts.size(); ++i)
      expert(x.experts[i].expert, at(path + ".experts", i) + ".expert");
  }

  /// Their number, and the tokens of each.
  void images(const Images& x) const {
    const Input* corpus = r_.corpus();
    if (corpus != nullptr)
      count(x.names.size(), corpus->sequences, "images.names", "inputs." + corpus->name + ".sequences");
    for (const Input& input : r_.inputs) {
      const int64_t tokens = input.tokens_per_sequence;
      // rows, columns and tokens are 1 at least; what is divided cannot overflow.
      const bool fits = x.registers < tokens && x.columns <= tokens / x.rows &&
                        1 + x.registers == tokens - x.rows * x.columns;
      require(fits, "images has {} x {} patches, {} registers and CLS, but a sequence of {} has {} tokens",
              x.rows, x.columns, x.registers, input.name, tokens);
    }
  }

  void summary() const {
    const Summary& s = r_.summary;
    if (s.first_nonfinite) first_nonfinite(*s.first_nonfinite, "summary.first_nonfinite");
    lives(s.lives);
    for (const auto& [point, headroom] : s.headroom) {
      if (!headroom) continue;
      const std::string path = "summary.headroom." + point;
      below(headroom->layer, m_.layers, path + ".layer");
      require(headroom->input.empty() || r_.input(headroom->input) != nullptr,
              "{}.input is {}, which is no input", path, printable(headroom->input, 40));
    }
    for (const auto& [format, overflow] : s.first_overflow) {
      if (!overflow) continue;
      const std::string path = "summary.first_overflow." + format;
      below(overflow->layer, r_.told_layers(), path + ".layer");
      const Input* input = r_.input(overflow->input);
      require(input != nullptr, "{}.input is {}, which is no input", path, printable(overflow->input, 40));
      amax(*overflow, *input, path);
    }
    if (s.norms) below(s.norms->layer, m_.layers, "summary.norms.layer");
    if (!s.alignment.outlier_layers) return;
    const std::vector<OutlierLayer>& layers = s.alignment.outlier_layers->layers;
    for (size_t i = 0; i < layers.size(); ++i)
      outlier_layer(layers[i], at("summary.alignment.outlier_layers.layers", i));
  }

  void outlier_layer(const OutlierLayer& x, const std::string& path) const {
    below(x.layer, r_.told_layers(), path + ".layer");
    require(r_.input(x.input) != nullptr, "{}.input is {}, which is no input", path, printable(x.input, 40));
    const std::pair<const char*, const AlignedNeuron*> neurons[] = {{".top_weight", &x.top_weight},
                                                                    {".top_activation", &x.top_activation},
                                                                    {".top_product", &x.top_product}};
    for (const auto& [name, neuron] : neurons) {
      below(neuron->neuron, m_.mlp_width, path + name + ".neuron");
      below(neuron->row, m_.width, path + name + ".row");
      expert(neuron->expert, path + name + ".expert");
    }
  }

  void place(const FindingPlace& x, const std::string& path) const {
    for (size_t i = 0; i < x.layers.size(); ++i) below(x.layers[i], m_.layers, at(path + ".layers", i));
    below(x.layer, m_.layers, path + ".layer");
    below(x.head, m_.heads, path + ".head");
    below(x.channel, std::max(m_.width, m_.mlp_width), path + ".channel");
    below(x.neuron, m_.mlp_width, path + ".neuron");
    expert(x.expert, path + ".expert");
    require(x.input.empty() || r_.input(x.input) != nullptr, "{}.input is {}, which is no input", path,
            printable(x.input, 40));
  }

  void first_nonfinite(const FirstNonfinite& first, const std::string& path) const {
    const Input* input = r_.input(first.input);
    require(input != nullptr, "{}.input is {}, which is no input", path, printable(first.input, 40));
    below(first.layer, m_.layers, path + ".layer");
    below(first.sequence, input->sequences, path + ".sequence");
    below(first.token, input->tokens_per_sequence, path + ".token");
    expert(first.expert, path + ".expert");
    if (!first.before) return;
    const std::string before = path + ".before";
    below(first.before->layer, m_.layers, before + ".layer");
    below(first.before->sequence, input->sequences, before + ".sequence");
    below(first.before->token, input->tokens_per_sequence, before + ".token");
    expert(first.before->expert, before + ".expert");
  }

  /// One a prompt, in order, or none. What is told, is told of the layers before values are not finite.
  void lives(const std::vector<Life>& lives) const {
    std::vector<std::string> prompts;
    for (const Input& input : r_.inputs) {
      if (input.is_prompt()) prompts.push_back(input.name);
    }
    require(lives.empty() || lives.size() == prompts.size(), "summary.lives has {} entries for {} prompts",
            lives.size(), prompts.size());
    for (size_t i = 0; i < lives.size(); ++i) {
      const Life& life = lives[i];
      const std::string path = at("summary.lives", i);
      require(life.input == prompts[i], "{}.input is {}, but the prompt is {}", path,
              printable(life.input, 40), prompts[i]);
      below(life.born_layer, r_.told_layers(), path + ".born_layer");
      below(life.peak_layer, r_.told_layers(), path + ".peak_layer");
      below(life.removed_layer, r_.told_layers(), path + ".removed_layer");
      require(!life.found || (life.born_layer && life.peak_layer),
              "{}.found is true, but a layer of birth or peak is missing", path);
      for (size_t c = 0; c < life.massive_channels.size(); ++c)
        below(life.massive_channels[c], m_.width, at(path + ".massive_channels", c));
      for (size_t t = 0; t < life.massive_tokens.size(); ++t) {
        const MassiveToken& token = life.massive_tokens[t];
        const std::string name = at(path + ".massive_tokens", t);
        below(token.token, r_.input(life.input)->tokens_per_sequence, name + ".token");
        below(token.first_layer, r_.told_layers(), name + ".first_layer");
        below(token.last_layer, r_.told_layers(), name + ".last_layer");
      }
    }
  }

  void lifecycle(const Lifecycle& x) const {
    std::vector<const Input*> prompts;
    for (const Input& input : r_.inputs) {
      if (input.is_prompt()) prompts.push_back(&input);
    }
    count(x.prompts.size(), static_cast<int64_t>(prompts.size()), "lifecycle.prompts", "inputs");
    for (size_t i = 0; i < prompts.size(); ++i) life(x.prompts[i], *prompts[i], at("lifecycle.prompts", i));
    for (size_t i = 0; i < x.constancy.size(); ++i)
      below(x.constancy[i].layer, r_.told_layers(), at("lifecycle.constancy", i) + ".layer");
  }

  void life(const PromptLife& x, const Input& prompt, const std::string& path) const {
    require(x.input == prompt.name, "{}.input is {}, but the prompt is {}", path, printable(x.input, 40),
            prompt.name);
    const int64_t layers = r_.told_layers(), tokens = prompt.tokens_per_sequence;
    for (size_t i = 0; i < x.episodes.size(); ++i) {
      const Episode& e = x.episodes[i];
      const std::string name = at(path + ".episodes", i);
      below(e.token, tokens, name + ".token");
      below(e.channel, m_.width, name + ".channel");
      below(e.born_layer, layers, name + ".born_layer");
      below(e.peak_layer, layers, name + ".peak_layer");
      below(e.removed_layer, layers, name + ".removed_layer");
      for (const auto& [list, steps] : {std::pair{&e.step_up, ".step_up"}, {&e.step_down, ".step_down"}})
        for (size_t s = 0; s < list->size(); ++s) below((*list)[s], layers, at(name + steps, s));
    }
    for (size_t i = 0; i < x.chosen.size(); ++i) {
      const std::pair<const char*, int64_t> limits[] = {
          {"token", tokens},  {"channel", m_.width}, {"born", layers},        {"removed", layers},
          {"spread", layers}, {"head", m_.heads},    {"neuron", m_.mlp_width}};
      for (const auto& [what, limit] : limits)
        if (x.chosen[i].what == what) below(x.chosen[i].number, limit, at(path + ".chosen", i) + ".number");
    }
    if (x.emergence) {
      const std::string name = path + ".emergence";
      below(x.emergence->token, tokens, name + ".token");
      below(x.emergence->channel, m_.width, name + ".channel");
      contributions(x.emergence->layers, 0, x.emergence->layer, name);
    }
    for (size_t i = 0; i < x.neurons.size(); ++i) {
      const std::string name = at(path + ".neurons", i);
      below(x.neurons[i].neuron, m_.mlp_width, name + ".neuron");
      expert(x.neurons[i].expert, name + ".expert");
      for (size_t t = 0; t < x.neurons[i].tokens.size(); ++t)
        below(x.neurons[i].tokens[t].token, tokens, at(name + ".tokens", t) + ".token");
      for (size_t d = 0; d < x.neurons[i].drives.size(); ++d) {
        const auto& channels = x.neurons[i].drives[d].channels;
        for (size_t c = 0; c < channels.size(); ++c)
          below(channels[c].channel, m_.width, at(at(name + ".drives", d) + ".channels", c) + ".channel");
      }
    }
    for (size_t i = 0; i < x.spread.size(); ++i) spread(x.spread[i], tokens, at(path + ".spread", i));
    if (x.disappearance)
      contributions(x.disappearance->layers, x.disappearance->first_layer, x.disappearance->last_layer,
                    path + ".disappearance");
  }

  void contributions(const std::vector<LayerContributions>& list, int64_t first, int64_t last,
                     const std::string& path) const {
    below(last, r_.told_layers(), path + (first == 0 ? ".layer" : ".last_layer"));
    require(static_cast<int64_t>(list.size()) == last - first + 1,
            "{}.layers has {} entries for layers {} to {}", path, list.size(), first, last);
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string name = at(path + ".layers", i);
      require(list[i].layer == first + static_cast<int64_t>(i),
              "{}.layer is {}; layers stand in order, from {}", name, list[i].layer, first);
      count(list[i].heads.size(), m_.heads, name + ".heads", "model.heads");
      for (size_t n = 0; n < list[i].neurons.size(); ++n) {
        below(list[i].neurons[n].neuron, m_.mlp_width, at(name + ".neurons", n) + ".neuron");
        expert(list[i].neurons[n].expert, at(name + ".neurons", n) + ".expert");
      }
    }
  }

  void spread(const LayerSpread& x, int64_t tokens, const std::string& path) const {
    below(x.layer, r_.told_layers(), path + ".layer");
    for (size_t t = 0; t < x.tokens.size(); ++t) below(x.tokens[t], tokens, at(path + ".tokens", t));
    const std::pair<const std::vector<double>*, const char*> lists[] = {{&x.cosine_outlier, "cosine_outlier"},
                                                                        {&x.cosine_other, "cosine_other"},
                                                                        {&x.margin, "margin"},
                                                                        {&x.probability, "probability"},
                                                                        {&x.value_ratio, "value_ratio"},
                                                                        {&x.output_share, "output_share"}};
    for (const auto& [list, name] : lists) count(list->size(), m_.heads, path + "." + name, "model.heads");
  }
};

}  // namespace

void check_consistency(const Results& results, const std::string& file) {
  Consistency(results, file).check();
  check_features(results, file);
  check_super_weights(results, file);
}

}  // namespace outliers::results
