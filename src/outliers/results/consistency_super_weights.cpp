#include "outliers/results/consistency_rules.h"

namespace outliers::results {
namespace {

class SuperWeightConsistency : ConsistencyRules {
 public:
  using ConsistencyRules::ConsistencyRules;

  void check() const {
    if (r_.super_weights) super_weights(*r_.super_weights);
    if (r_.criticality) criticality(*r_.criticality);
  }

 private:
  void super_weights(const SuperWeights& x) const {
    const Input* input = r_.input(x.input);
    require(input != nullptr && input->is_prompt(), "super_weights.input is {}, which is no prompt",
            printable(x.input, 40));
    const auto place = [&](const auto& one, int64_t channel, const std::string& path, const char* name) {
      below(one.layer, m_.layers, path + ".layer");
      expert(one.expert, path + ".expert");
      below(one.token, input->tokens_per_sequence, path + ".token");
      below(channel, m_.width, path + name);
    };
    for (size_t i = 0; i < x.found.size(); ++i) {
      place(x.found[i], x.found[i].row, at("super_weights.found", i), ".row");
      below(x.found[i].column, m_.mlp_width, at("super_weights.found", i) + ".column");
    }
    place(x.left, x.left.channel, "super_weights.left", ".channel");
  }

  void criticality(const Criticality& x) const {
    const Input* input = r_.input(x.input);
    require(input != nullptr && !input->is_prompt(), "criticality.input is {}, which is no corpus",
            printable(x.input, 40));
    require(r_.super_weights.has_value(), "criticality stands where there are no super_weights");
    count(x.weights.size(), static_cast<int64_t>(r_.super_weights->found.size()), "criticality.weights",
          "super_weights.found");
  }
};

}  // namespace

void check_super_weights(const Results& results, const std::string& file) {
  SuperWeightConsistency(results, file).check();
}

}  // namespace outliers::results
