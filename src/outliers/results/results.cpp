#include "outliers/results/results.h"

#include <algorithm>

namespace outliers::results {

const Input* Results::input(std::string_view name) const {
  const auto found =
      std::find_if(inputs.begin(), inputs.end(), [&](const Input& input) { return input.name == name; });
  return found == inputs.end() ? nullptr : &*found;
}

namespace {
const Input* first_of(const std::vector<Input>& inputs, InputKind kind) {
  const auto found =
      std::find_if(inputs.begin(), inputs.end(), [&](const Input& input) { return input.kind == kind; });
  return found == inputs.end() ? nullptr : &*found;
}
}  // namespace

const Input* Results::prompt() const {
  return first_of(inputs, InputKind::prompt);
}

const Input* Results::corpus() const {
  return first_of(inputs, InputKind::corpus);
}

int64_t Results::told_layers() const {
  return summary.first_nonfinite ? summary.first_nonfinite->layer : static_cast<int64_t>(layers.size());
}

const Definition* Results::value_definition(std::string_view name) const {
  return definitions.find(std::string(kValuesPath).append(name));
}

}  // namespace outliers::results
