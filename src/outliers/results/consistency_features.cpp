// Counts and places of what stands out by the definitions of papers.
#include <fmt/format.h>

#include "outliers/results/consistency_rules.h"

namespace outliers::results {
namespace {

class Features : ConsistencyRules {
 public:
  using ConsistencyRules::ConsistencyRules;

  void check() const {
    for (size_t i = 0; i < r_.inputs.size(); ++i) {
      if (!r_.inputs[i].int8_outliers) continue;
      const std::vector<Int8Outlier>& list = *r_.inputs[i].int8_outliers;
      for (size_t n = 0; n < list.size(); ++n)
        below(list[n].channel, m_.width, at(at("inputs", i) + ".int8_outliers", n) + ".channel");
    }
    for (size_t l = 0; l < r_.layers.size(); ++l) {
      const std::string path = at("layers", l);
      if (const std::optional<Collinearity>& x = r_.layers[l].collinearity) {
        below(x->channel, m_.width, path + ".collinearity.channel");
        below(x->rank, m_.width, path + ".collinearity.rank");
        expert(x->expert, path + ".collinearity.expert");
      }
      for (const auto& [name, input] : r_.layers[l].inputs)
        for (size_t i = 0; i < input.residual_sinks.size(); ++i)
          below(input.residual_sinks[i].channel, m_.width,
                at(path + ".inputs." + name + ".residual_sinks", i) + ".channel");
    }
    if (r_.vocabulary) vocabulary(*r_.vocabulary, "vocabulary");
    const Summary& s = r_.summary;
    if (s.axes) axes(*s.axes, "summary.axes");
    for (size_t i = 0; s.secondary_sinks && i < s.secondary_sinks->largest.size(); ++i)
      sink(s.secondary_sinks->largest[i], at("summary.secondary_sinks.largest", i));
    for (size_t i = 0; s.super_experts && i < s.super_experts->size(); ++i) {
      const std::string path = at("summary.super_experts", i);
      below((*s.super_experts)[i].layer, r_.told_layers(), path + ".layer");
      expert((*s.super_experts)[i].expert, path + ".expert");
      known((*s.super_experts)[i].input, path);
    }
    if (s.inactive_heads) heads(*s.inactive_heads, "summary.inactive_heads");
  }

 private:
  const Input& known(const std::string& name, const std::string& path) const {
    const Input* input = r_.input(name);
    require(input != nullptr, "{}.input is {}, which is no input", path, printable(name, 40));
    return *input;
  }

  void vocabulary(const VocabularySpikes& x, const std::string& path) const {
    require(x.spiking <= x.tokens, "{}.spiking is {}, but {}.tokens says {}", path, x.spiking, path,
            x.tokens);
    if (x.channel) below(*x.channel, m_.width, path + ".channel");
    count(x.layers.size(), m_.layers, path + ".layers", "model.layers");
    for (size_t i = 0; i < x.layers.size(); ++i)
      require(x.layers[i].layer == static_cast<int64_t>(i), "{}.layer is {}; layers stand in order, from 0",
              at(path + ".layers", i), x.layers[i].layer);
    for (size_t i = 0; i < x.exceptions.size(); ++i) {
      const std::string of = at(path + ".exceptions", i);
      below(x.exceptions[i].id, x.tokens, of + ".id");
      below(x.exceptions[i].layer, m_.layers, of + ".layer");
      below(x.exceptions[i].channel, m_.width, of + ".channel");
    }
  }

  void axes(const Axes& x, const std::string& path) const {
    known(x.input, path);
    require(static_cast<int64_t>(x.layers.size()) == r_.told_layers(),
            "{}.layers has {} entries, but the summary tells of {} layers", path, x.layers.size(),
            r_.told_layers());
    for (size_t i = 0; i < x.layers.size(); ++i)
      require(x.layers[i].layer == static_cast<int64_t>(i), "{}.layer is {}; layers stand in order, from 0",
              at(path + ".layers", i), x.layers[i].layer);
  }

  void sink(const SecondarySink& x, const std::string& path) const {
    const Input& input = known(x.input, path);
    below(x.sequence, input.sequences, path + ".sequence");
    below(x.key, input.tokens_per_sequence, path + ".key");
    below(x.last_layer, r_.told_layers(), path + ".last_layer");
    below(x.first_layer, x.last_layer + 1, path + ".first_layer");
  }

  void heads(const InactiveHeads& x, const std::string& path) const {
    known(x.input, path);
    for (size_t i = 0; i < x.list.size(); ++i) {
      below(x.list[i].layer, r_.told_layers(), at(path + ".list", i) + ".layer");
      below(x.list[i].head, m_.heads, at(path + ".list", i) + ".head");
    }
    require(static_cast<int64_t>(x.list.size()) == x.dormant + x.dead,
            "{}.list has {} entries for {} dormant and {} dead heads", path, x.list.size(), x.dormant,
            x.dead);
  }
};

}  // namespace

void check_features(const Results& results, const std::string& file) {
  Features(results, file).check();
}

}  // namespace outliers::results
