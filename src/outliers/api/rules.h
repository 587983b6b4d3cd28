// Rules by which results are judged: docs/rules.md.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "outliers/api/model.h"
#include "outliers/core/export.h"
#include "outliers/results/results.h"

namespace outliers {

/// Copies share what they hold.
class OUTLIERS_API Rules {
 public:
  /// The built-in ones.
  Rules();
  /// Throws ErrorKind::file where it cannot be read, input where it holds no rules: one line with the place,
  /// and the nearest known name of what is not known.
  static Rules read(const std::filesystem::path& file);
  /// The file of the built-in ones, to be changed.
  static std::string built_in_text();

  /// The measures whose numbers they read, for SurveyOptions, less those that do not apply to the model.
  std::vector<std::string> measures(const Model& model) const;
  /// What they say, the worst first.
  std::vector<results::Finding> findings(const results::Results& results) const;

 private:
  struct State;
  explicit Rules(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

}  // namespace outliers
