// What the commands have in common that measure a model: which model, on what, and by what.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common.h"

namespace outliers::apps {

class SurveyArguments {
 public:
  /// The MODEL argument.
  void add_model(Command& command);
  /// Prompts, images, BOS.
  void add_prompts(Command& command);
  /// These, corpora and windows.
  void add_inputs(Command& command);
  /// Device, dtype, threads, memory.
  void add_compute(Command& command) { compute_.add(command); }
  /// These and the seed.
  void add_machine(Command& command);

  /// --rules.
  void add_rules(Command& command);

  const std::string& source() const { return model_.source(); }
  /// Throws where options do not fit what the model reads.
  Model open() const;
  /// Reads the prompts' files and the rules.
  SurveyOptions options() const;
  /// Whether --rules asks for the built-in ones; then they are printed.
  bool prints_rules() const;
  Rules rules() const { return rules_.empty() ? Rules() : Rules::read(rules_); }
  SessionOptions session(const std::string& output) const { return compute_.session(output); }

 private:
  /// A --prompt, or a --prompt-file.
  struct Prompt {
    std::string text;
    bool is_file;
  };

  ModelArgument model_;
  std::vector<Prompt> prompts_;
  std::vector<std::string> corpora_, images_;
  std::vector<Option> of_text_;  // that models of images have no use for
  SurveyOptions survey_;
  Compute compute_;
  std::string rules_;
};

}  // namespace outliers::apps
