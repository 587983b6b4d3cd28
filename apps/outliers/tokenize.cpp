#include <memory>

#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/terminal.h"
#include "outliers/models/tokenizer_source.h"
#include "outliers/report/format.h"

#include "commands.h"
#include "common.h"

namespace outliers::apps {
namespace {

struct Options {
  ModelArgument model;
  std::string text, file;
  text::BosPolicy bos = text::BosPolicy::model;
  bool json = false;
};

void run(Options& options, bool has_text) {
  const auto opened = models::open_tokenizer(options.model.path());
  const text::Tokenizer& tokenizer = *opened;
  const std::vector<int32_t> ids =
      tokenizer.encode(has_text ? options.text : read_text(options.file), options.bos);
  if (options.json) {
    nlohmann::ordered_json result = {{"ids", ids},
                                     {"pieces", nlohmann::ordered_json::array()},
                                     {"tokens", nlohmann::ordered_json::array()}};
    for (const int32_t id : ids) {
      result["pieces"].push_back(tokenizer.piece(id));
      result["tokens"].push_back(tokenizer.display(id));
    }
    // A lone byte of a longer character is no UTF-8; JSON gets the replacement character there.
    const auto replace = nlohmann::ordered_json::error_handler_t::replace;
    print(result.dump(1, ' ', false, replace) + "\n");
    return;
  }
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < ids.size(); ++i) {
    rows.push_back({fmt::format("{}", i), fmt::format("{}", ids[i]), printable(tokenizer.piece(ids[i])),
                    fmt::format("\"{}\"", tokenizer.display(ids[i]))});
  }
  print(report::table({"token", "id", "piece", "text"}, rows, table_columns()));
}

}  // namespace

void add_tokenize(CLI::App& app) {
  CLI::App* command = app.add_subcommand("tokenize", "show the ids and pieces of a text");
  auto options = std::make_shared<Options>();
  options->model.add(*command, {.file = false});
  CLI::Option* text = command->add_option("--text", options->text, "the text")->type_name("TEXT");
  command
      ->add_option("--file", options->file, "a file that holds the text; - is standard input (the default)")
      ->excludes(text)
      ->type_name("FILE")
      ->default_str("-");
  options->file = "-";
  add_bos(*command, options->bos);
  add_json(*command, options->json);
  command->callback([options, text] { run(*options, text->count() > 0); });
}

}  // namespace outliers::apps
