#include "outliers/report/figures.h"

#include <algorithm>
#include <functional>
#include <set>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/suggest.h"
#include "outliers/report/figure_kinds.h"
#include "outliers/report/whole.h"

namespace outliers::report {
namespace {

/// What a figure is of: of prompts and corpora there may be several, and each has its figure.
enum class Of { prompt, corpus, model };
/// Which layers have to be told of for it (summary.first_nonfinite): one at least, all, or none.
enum class Tells { some, all, none };

struct Kind {
  const char* name;
  Of of;
  std::vector<const char*> measures;  ///< those that it shows
  std::function<std::optional<Figure>(const Sheet&)> make;
  Tells tells = Tells::some;
};

Kind second_weight(const char* name, size_t place) {
  return {name,
          Of::model,
          {"weights"},
          [=](const Sheet& s) -> std::optional<Figure> {
            const std::vector<int64_t> layers = heaviest_layers(s.data(), s.chosen.born);
            return place < layers.size() ? columns_3d(s, layers[place]) : std::nullopt;
          },
          Tells::none};
}

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"exist_down",
       Of::prompt,
       {"prompt_values"},
       [](const Sheet& s) { return activations_3d(s, "down_in", s.chosen.born); }},
      {"exist_out",
       Of::prompt,
       {"prompt_values"},
       [](const Sheet& s) { return activations_3d(s, "resid_out", s.chosen.born); }},
      {"exist_weight",
       Of::model,
       {"weights"},
       [](const Sheet& s) { return columns_3d(s, s.chosen.born); },
       Tells::none},
      {"exist_attention", Of::prompt, {"attention_maps"}, attention_map},
      {"pos_down_layers",
       Of::corpus,
       {"activations"},
       [](const Sheet& s) { return activations_by_layer(s, "down_in"); }},
      {"pos_down_removed",
       Of::prompt,
       {"prompt_values", "activations"},
       [](const Sheet& s) -> std::optional<Figure> {
         return s.chosen.removed ? activations_3d(s, "down_in", *s.chosen.removed) : std::nullopt;
       }},
      {"pos_down_channels",
       Of::prompt,
       {"activations"},
       [](const Sheet& s) { return channels_by_layer(s, "down_in"); }},
      {"pos_out_layers",
       Of::corpus,
       {"activations"},
       [](const Sheet& s) { return activations_by_layer(s, "resid_out"); }},
      {"pos_out_tokens", Of::corpus, {"activations"}, massive_tokens},
      {"pos_out_channels",
       Of::prompt,
       {"activations"},
       [](const Sheet& s) { return channels_by_layer(s, "resid_out"); }},
      {"pos_weight_layers", Of::model, {"weights"}, weights_by_layer, Tells::none},
      {"pos_weight_columns", Of::model, {"weights"}, columns_by_layer, Tells::none},
      second_weight("pos_weight_second", 0),
      second_weight("pos_weight_third", 1),
      {"pos_attention_layers", Of::corpus, {"attention"}, scores_by_layer},
      {"pos_attention_keys", Of::corpus, {"attention"}, outlier_keys},
      {"pos_attention_heads", Of::corpus, {"attention"}, heads_by_layer},
      {"life_emergence", Of::prompt, {}, [](const Sheet& s) { return mlp_flow(s, "born"); }},
      {"life_spread", Of::prompt, {}, head_flow},
      {"life_disappearance", Of::prompt, {}, [](const Sheet& s) { return mlp_flow(s, "removed"); }},
      {"norm_layers", Of::corpus, {"norms"}, norms_by_layer},
      {"norm_map", Of::prompt, {"norms"}, norm_map, Tells::all},
  };
  return all;
}

/// A figure that the report may have.
struct Planned {
  Kind kind;
  std::string name;
  const results::Input* input;
};

std::string kind_word(const results::Input& input) {
  return input.is_prompt() ? "prompt" : "corpus";
}

/// "prompt2": by its place, because names come out of a file and are not those of files.
std::string input_suffix(const results::Results& r, const results::Input& input) {
  const size_t place = place_of(r, input);
  return kind_word(input) + (place == 0 ? "" : fmt::format("{}", place + 1));
}

/// A value's name stands in the names of files.
bool is_file_name(const std::string& name) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  return !name.empty() && name.size() <= 100 && name.find_first_not_of(kLetters) == std::string::npos;
}

class Plan {
 public:
  explicit Plan(const results::Results& r) : r_(r) {
    const auto prompts = inputs_of(r, results::InputKind::prompt),
               corpora = inputs_of(r, results::InputKind::corpus);
    for (size_t i = 0; i < std::max({prompts.size(), corpora.size(), size_t{1}}); ++i) {
      for (const Kind& kind : kinds()) {
        if (kind.of == Of::model && i == 0) add(kind, kind.name, nullptr);
        const auto& list = kind.of == Of::prompt ? prompts : corpora;
        if (kind.of == Of::model || i >= list.size()) continue;
        add(kind, i == 0 ? kind.name : fmt::format("{}_{}", kind.name, input_suffix(r, *list[i])), list[i]);
      }
    }
    for (const MeasuredValue& value : measured_values(r)) {
      if (is_file_name(value.name)) add(value);
    }
  }

  std::vector<Planned> figures;

 private:
  void add(const Kind& kind, const std::string& name, const results::Input* input) {
    if (used_.insert(name).second) figures.push_back({kind, name, input});
  }
  /// One figure of all inputs, or a map each: the first has the value's name.
  void add(const MeasuredValue& value) {
    if (!value.by_head()) {
      add({"", Of::model, {}, [=](const Sheet& s) { return value_by_layer(s, value); }}, value.name, nullptr);
      return;
    }
    bool first = true;
    for (const results::Input& input : r_.inputs) {
      if (values_by_layer(r_, input, value).empty()) continue;
      add({"", Of::corpus, {}, [=](const Sheet& s) { return value_map(s, value); }},
          first ? value.name : fmt::format("{}_{}", value.name, input_suffix(r_, input)), &input);
      first = false;
    }
  }

  const results::Results& r_;
  std::set<std::string> used_;
};

bool can_tell(const results::Results& r, Tells tells) {
  const int64_t wanted = tells == Tells::none ? 0 : tells == Tells::some ? 1 : r.model.layers;
  return r.told_layers() >= wanted;
}

void check_names(const results::Results& r, const std::vector<Planned>& planned,
                 const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const auto found =
        std::find_if(planned.begin(), planned.end(), [&](const Planned& p) { return p.name == name; });
    if (found == planned.end()) {
      const std::vector<std::string> known = figure_names(r);
      const std::string near = nearest(name, known);
      throw UsageError(fmt::format("there is no figure {}; {}", printable(name),
                                   near.empty() ? fmt::format("known: {}", fmt::join(known, ", "))
                                                : fmt::format("did you mean {}?", near)));
    }
    const auto& made = r.run.measures;
    for (const char* measure : found->kind.measures) {
      require(std::find(made.begin(), made.end(), measure) != made.end(), kArgument,
              "{} shows the measure {}, which this report was made without", name, measure);
    }
  }
}

std::vector<Figure> figures_of(const Results& results, const std::vector<std::string>& names) {
  const results::Results& r = results.data;
  const std::vector<Planned> planned = Plan(r).figures;
  check_names(r, planned, names);
  const results::Input* first = r.prompt();
  const Chosen of_first = choose(r, first);
  std::vector<Figure> figures;
  for (const Planned& p : planned) {
    if (!names.empty() && std::find(names.begin(), names.end(), p.name) == names.end()) continue;
    if (!can_tell(r, p.kind.tells)) continue;
    const bool further = p.input != nullptr && p.input->is_prompt() && p.input != first;
    const Sheet sheet{results, p.name, p.input, further ? choose(r, p.input) : of_first};
    if (std::optional<Figure> figure = p.kind.make(sheet)) figures.push_back(std::move(*figure));
  }
  return figures;
}

}  // namespace

std::vector<std::string> figure_names(const results::Results& r) {
  std::vector<std::string> names;
  for (const Planned& planned : Plan(r).figures) names.push_back(planned.name);
  return names;
}

std::vector<Figure> make_figures(const Results& results, const std::vector<std::string>& names) {
  if (has_nonfinite(results.data)) return figures_of(with_data(results, whole_layers(results.data)), names);
  return figures_of(results, names);
}

}  // namespace outliers::report
