// Options of the commands that evaluate a model on windows of text.
#pragma once

#include <string>
#include <vector>

#include "common.h"

namespace outliers::apps {

/// --corpus, --text-field, --context, --stride, --bos and --sequences.
class EvaluationText {
 public:
  void add(Command& command);
  /// What was asked for. Errors call the setting of tokens --context from now on.
  eval::WindowOptions windows() const;

 private:
  std::vector<std::string> corpora_;
  eval::WindowOptions windows_;
};

}  // namespace outliers::apps
