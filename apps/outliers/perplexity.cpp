#include <memory>

#include "commands.h"
#include "evaluation.h"

namespace outliers::apps {

void add_perplexity(CommandLine& line) {
  Command command = line.command("perplexity", "how well a model predicts a text");
  auto evaluation = std::make_shared<Evaluation>("perplexity.json");
  evaluation->add_model(command);
  evaluation->add(command);
  command.runs([evaluation] {
    evaluation->run([](const Session& session, const Model& model,
                       const eval::WindowOptions& windows) { return session.perplexity(model, windows); },
                    [](results::Perplexity& result) { result.per_window.clear(); },
                    [](const results::Perplexity& result) { return summary_text(result, text_columns()); },
                    [](const std::filesystem::path&) { return std::vector<std::string>(); });
  });
}

}  // namespace outliers::apps
