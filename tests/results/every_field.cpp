#include "every_field.h"

#include "outliers/results/visit.h"

namespace outliers::tests {
namespace {

using namespace results;

constexpr const char* kCorpusName = "corpus";
constexpr const char* kPromptName = "prompt";
constexpr int64_t kLayers = 12, kToldLayers = 10, kHeads = 2, kRegisters = 2, kPrime = 4999, kWide = 1 << 20;

class Filler {
 public:
  explicit Filler(bool distinct) : distinct_(distinct) {}

  template <typename T>
  void operator()(const Field& field, T& x) {
    if constexpr (is_optional<T>) {
      (*this)(field, x.emplace());
    } else if constexpr (is_list<T>) {
      for (int i = 0; i < 2; ++i) (*this)(field, x.emplace_back());
    } else if constexpr (is_named<T>) {
      if (field.names.empty()) {
        for (const char* name : {kCorpusName, kPromptName}) (*this)(field, x[name]);
      } else {
        for (const char* name : field.names) (*this)(field, x[name]);
      }
    } else if constexpr (std::is_same_v<T, Expert>) {
      x.number = next() % 3 == 0 ? Expert::kShared : distinct_ ? count_ : 0;
    } else if constexpr (std::is_enum_v<T>) {
      x = static_cast<T>(next() % static_cast<int64_t>(std::size(kNames<T>)));
    } else if constexpr (std::is_same_v<T, double>) {
      x = number(field);
    } else if constexpr (std::is_same_v<T, int64_t>) {
      x = distinct_ ? next() : static_cast<int64_t>(std::max(field.minimum, 0.0));
    } else if constexpr (std::is_same_v<T, bool>) {
      x = next() % 2 == 0;
    } else if constexpr (std::is_same_v<T, std::string>) {
      x = text(field);
    } else {
      fields(*this, x);
    }
  }

 private:
  int64_t next() { return ++count_; }
  double number(const Field& field) {
    if (!distinct_) return std::max(field.minimum, 0.0);
    const double value = static_cast<double>(next()) + 0.1;
    if (std::isfinite(field.maximum)) return value / 10'000;
    return std::isfinite(field.minimum) ? value : -value;
  }
  std::string text(const Field& field) {
    if (!field.values.empty()) return field.values[static_cast<size_t>(next()) % field.values.size()];
    const std::string number = std::to_string(next());
    if (field.pattern != nullptr) return field.name == std::string_view("device") ? "cuda:" + number : number;
    return "text " + number + " \"\\\n\t\xc3\xa9\xf0\x9f\x8c\x8a";
  }

  bool distinct_;
  int64_t count_ = 2;
};

class Lister {
 public:
  template <typename T>
  void operator()(const Field& field, T& x) {
    add(path_.empty() ? field.name : path_ + "." + field.name, x);
  }
  std::vector<std::pair<std::string, std::string>> list;

 private:
  template <typename T>
  void add(const std::string& path, T& x) {
    if constexpr (is_optional<T>) {
      if (x) return add(path, *x);
      list.emplace_back(path, "nothing");
    } else if constexpr (is_list<T>) {
      list.emplace_back(path, fmt::format("{} entries", x.size()));
      for (size_t i = 0; i < x.size(); ++i) add(fmt::format("{}[{}]", path, i), x[i]);
    } else if constexpr (is_named<T>) {
      list.emplace_back(path, fmt::format("{} names", x.size()));
      for (auto& [name, value] : x) add(path + "." + name, value);
    } else if constexpr (std::is_same_v<T, Expert>) {
      list.emplace_back(path, fmt::format("expert {}", x.number));
    } else if constexpr (std::is_enum_v<T>) {
      list.emplace_back(path, kNames<T>[static_cast<size_t>(x)]);
    } else if constexpr (std::is_same_v<T, std::string>) {
      list.emplace_back(path, x);
    } else if constexpr (HasFields<T>) {
      const std::string before = std::exchange(path_, path);
      fields(*this, x);
      path_ = before;
    } else {
      list.emplace_back(path, fmt::format("{}", x));
    }
  }
  std::string path_;
};

void in_one_sequence(Named<Amax>& all) {
  for (auto& [point, amax] : all) amax.sequence = 0;
}

/// A model has few heads.
void in_a_head(Named<Amax>& all) {
  for (auto& [point, amax] : all) amax.head = *amax.head % kHeads;
}

/// Places of a prompt are in its one sequence.
void in_one_sequence(LayerInput& x) {
  for (Activations* activations : {&*x.resid_out, &*x.down_in}) {
    for (std::vector<Place>* list : {&activations->top, &activations->massive}) {
      for (Place& place : *list) place.sequence = 0;
    }
  }
  for (std::vector<Key>* list : {&x.attention->top_keys, &x.attention->outlier_keys}) {
    for (Key& key : *list) key.sequence = 0;
  }
  x.norms->patches.largest.sequence = 0;
  in_one_sequence(x.amax);
}

void fit(Input& input, bool prompt, int64_t tokens) {
  input.name = prompt ? kPromptName : kCorpusName;
  input.kind = prompt ? InputKind::prompt : InputKind::corpus;
  input.sequences = prompt ? 1 : tokens;
  input.tokens_per_sequence = tokens;
  in_a_head(input.amax);
  if (prompt) in_one_sequence(input.amax);
  const auto size = static_cast<size_t>(tokens);
  input.ids.resize(size);
  input.tokens.resize(size);
  input.classes.resize(size, "other");
}

void fit(Summary& summary) {
  summary.first_nonfinite->layer = kToldLayers;
  summary.first_nonfinite->input = kCorpusName;
  summary.first_nonfinite->before->layer = kToldLayers - 1;
  summary.lives.resize(1);
  Life& life = summary.lives[0];
  life.input = kPromptName;
  life.born_layer = 1;
  life.peak_layer = 2;
  life.removed_layer = 3;
  for (MassiveToken& token : life.massive_tokens) {
    token.first_layer = 4;
    token.last_layer = 5;
  }
  int64_t layer = 6;
  for (auto& [point, headroom] : summary.headroom) {
    headroom->input = layer == 6 ? kPromptName : kCorpusName;
    headroom->layer = layer++;
  }
  for (auto& [format, overflow] : summary.first_overflow) {
    overflow->input = kCorpusName;
    overflow->layer = layer++ % kToldLayers;
    overflow->head = *overflow->head % kHeads;
  }
  summary.norms->layer = kLayers - 1;
  for (OutlierLayer& outliers : summary.alignment.outlier_layers->layers) {
    outliers.layer = kToldLayers - 1;
    outliers.input = kCorpusName;
  }
  summary.axes->input = kCorpusName;
  const LayerAxes axes = summary.axes->layers[0];
  summary.axes->layers.assign(kToldLayers, axes);
  for (size_t l = 0; l < summary.axes->layers.size(); ++l)
    summary.axes->layers[l].layer = static_cast<int64_t>(l);
  for (SecondarySink& sink : summary.secondary_sinks->largest) {
    sink.input = kCorpusName;
    sink.first_layer = 2;
    sink.last_layer = 3;
  }
  for (SuperExpert& expert : *summary.super_experts) {
    expert.input = kCorpusName;
    expert.layer = 4;
  }
  InactiveHeads& heads = *summary.inactive_heads;
  heads.input = kCorpusName;
  heads.dormant = 1;
  heads.dead = static_cast<int64_t>(heads.list.size()) - 1;
  for (InactiveHead& head : heads.list) {
    head.layer = 5;
    head.head = kHeads - 1;
  }
}

void fit(FindingPlace& place) {
  place.layers = {7, 8};
  place.layer = 8;
  place.head = kHeads - 1;
  place.input = kPromptName;
}

/// Layers of contributions from `first` on.
void in_order(std::vector<LayerContributions>& layers, int64_t first) {
  for (size_t i = 0; i < layers.size(); ++i) layers[i].layer = first + static_cast<int64_t>(i);
}

void fit(Lifecycle& lifecycle) {
  lifecycle.prompts.resize(1);
  PromptLife& life = lifecycle.prompts[0];
  life.input = kPromptName;
  for (Episode& episode : life.episodes) {
    episode.born_layer = 1;
    episode.peak_layer = 2;
    episode.removed_layer = 3;
    episode.step_up = {0, 1};
    episode.step_down = {3, 4};
  }
  for (Choice& choice : life.chosen) choice.number = 1;
  life.emergence->layer = 1;
  in_order(life.emergence->layers, 0);
  life.disappearance->first_layer = 5;
  life.disappearance->last_layer = 6;
  in_order(life.disappearance->layers, 5);
  int64_t layer = 7;
  for (LayerSpread& spread : life.spread) spread.layer = layer++;
  layer = 8;
  for (Constancy& constancy : lifecycle.constancy) constancy.layer = layer++;
}

}  // namespace

Results every_field(bool distinct) {
  Results results;
  Filler filler(distinct);
  fields(filler, results);

  const int64_t patches = distinct ? kPrime : 5, tokens = 1 + kRegisters + patches;
  results.schema = kSchema;
  results.model.layers = kLayers;
  results.model.heads = kHeads;
  results.model.width = kWide + 1;
  results.model.mlp_width = kWide + 2;
  results.model.experts->count = kWide + 3;
  fit(results.inputs[0], false, tokens);
  fit(results.inputs[1], true, tokens);
  results.images->rows = 1;
  results.images->columns = patches;
  results.images->registers = kRegisters;
  results.images->names.resize(static_cast<size_t>(tokens), "more.png");
  results.layers.resize(kLayers, results.layers.back());
  for (int64_t l = 0; l < kLayers; ++l) {
    Layer& layer = results.layers[static_cast<size_t>(l)];
    layer.layer = l;
    for (auto& [name, input] : layer.inputs) {
      for (int64_t h = 0; h < kHeads; ++h) input.attention->heads[static_cast<size_t>(h)].head = h;
      in_a_head(input.amax);
    }
    layer.inputs.find(kCorpusName)->writes.reset();
    in_one_sequence(*layer.inputs.find(kPromptName));
  }
  fit(results.summary);
  fit(*results.lifecycle);
  results.super_weights->input = kPromptName;
  for (SuperWeight& one : results.super_weights->found) one.layer = kLayers - 1;
  results.super_weights->left.layer = kLayers - 2;
  results.criticality->input = kCorpusName;
  VocabularySpikes& vocabulary = *results.vocabulary;
  vocabulary.tokens = kWide * 10;
  vocabulary.spiking = kWide;
  const LayerSpikes spikes = vocabulary.layers[0];
  vocabulary.layers.assign(kLayers, spikes);
  for (size_t l = 0; l < vocabulary.layers.size(); ++l) vocabulary.layers[l].layer = static_cast<int64_t>(l);
  for (VocabularyToken& token : vocabulary.exceptions) token.layer = kLayers - 1;
  for (Finding& finding : *results.findings) fit(finding.place);
  // Their values have two entries.
  for (const char* name : {kCorpusName, kPromptName})
    results.definitions[std::string(kValuesPath) + name] = {"[H]", "Title", "what it is", "arXiv 2402.17762"};
  return results;
}

Interventions every_intervention_field() {
  Interventions x;
  Filler filler(true);
  fields(filler, x);
  x.schema = kInterventionsSchema;
  x.model.layers = 2;
  x.text.windows = 2;
  x.runs.resize(3, x.runs.back());
  for (size_t i = 0; i < 3; ++i) {
    x.runs[i].name = "run" + std::to_string(i);
    x.runs[i].layers[0].layer = 0;
    x.runs[i].layers[1].layer = 1;
  }
  InterventionRun &plain = x.runs[0], &edited = x.runs[1], &control = x.runs[2];
  plain.effect.reset();
  plain.edits.clear();
  plain.control_of.reset();
  edited.layers.erase(edited.layers.begin());
  edited.control_of.reset();
  control.control_of = edited.name;
  return x;
}

std::vector<std::pair<std::string, std::string>> values_of(Results& results) {
  Lister lister;
  fields(lister, results);
  return std::move(lister.list);
}

}  // namespace outliers::tests
