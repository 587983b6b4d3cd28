// What the commands have in common that evaluate a model on windows of text.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/table.h"
#include "outliers/core/terminal.h"

#include "common.h"

namespace outliers::apps {

/// Options of the model, the text, the machine and the output.
class Evaluation {
 public:
  /// `file`: what the command writes into the directory of --output.
  explicit Evaluation(const char* file) : file_(file) {}
  void add_model(Command& command) { model_.add(command, {.adapter = true}); }
  void add(Command& command);

  /// evaluate(session, model, windows) gives the result; shorten(result) leaves out each window's numbers,
  /// for --json; summary(result) is what is printed else; finish(directory), where the result's file stands,
  /// adds what is made of it, and gives the names.
  template <typename Evaluate, typename Shorten, typename Summary, typename Finish>
  void run(const Evaluate& evaluate, const Shorten& shorten, const Summary& summary,
           const Finish& finish) const {
    run_ranks([&](Ranks* ranks) {
      SessionOptions settings = compute_.session(output_.empty() ? file_ : output_);
      settings.ranks = ranks;
      const Session session(settings);
      std::optional<OutputDirectory> output;
      if (session.is_root() && !output_.empty()) output.emplace(output_, force_, file_);
      auto result = evaluate(session, model_.open(), windows());
      if (!session.is_root()) return;
      std::vector<std::string> files;
      if (output) {
        OutputFile file(output->temporary() / file_, false);
        file.write(results::to_text(result) + "\n");
        file.commit();
        output->commit();
        files = finish(std::filesystem::path(output_));
        files.push_back(file_);
      }
      if (json_) {
        shorten(result);
        print(results::to_text(result) + "\n");
        return;
      }
      print(summary(result));
      if (!output) return;
      const std::string list =
          fmt::format("{}/{}", printable(output_, std::string::npos), fmt::join(files, ", "));
      print(labelled("files", list, text_columns()));
    });
  }

 private:
  /// What was asked for. Errors call the setting of tokens --context from now on.
  eval::WindowOptions windows() const;

  std::string file_, output_;
  ModelArgument model_;
  std::vector<std::string> corpora_;
  eval::WindowOptions windows_;
  Compute compute_;
  bool force_ = false, json_ = false;
};

}  // namespace outliers::apps
