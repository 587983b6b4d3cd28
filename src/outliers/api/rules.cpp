#include "outliers/api/rules.h"

#include <utility>

#include "outliers/studies/findings.h"
#include "outliers/studies/rules.h"

namespace outliers {

struct Rules::State {
  std::vector<studies::Rule> rules;
};

Rules::Rules(std::shared_ptr<const State> state) : state_(std::move(state)) {}

Rules::Rules() {
  static const auto built_in = std::make_shared<const State>(
      State{studies::parse_rules(studies::built_in_rules(), "the built-in rules")});
  state_ = built_in;
}

Rules Rules::read(const std::filesystem::path& file) {
  return Rules(std::make_shared<const State>(State{studies::read_rules(file)}));
}

std::string Rules::built_in_text() {
  return std::string(studies::built_in_rules());
}

std::vector<std::string> Rules::measures(const Model& model) const {
  return studies::measures_of(state_->rules, model.config());
}

std::vector<results::Finding> Rules::findings(const results::Results& results) const {
  return studies::findings(results, state_->rules);
}

}  // namespace outliers
