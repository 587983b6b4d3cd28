#include <memory>

#include "outliers/core/output.h"
#include "outliers/core/terminal.h"

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
  const auto tokenizer = open_tokenizer(options.model.path());
  const std::vector<int32_t> ids =
      tokenizer->encode(has_text ? options.text : read_text(options.file), options.bos);
  print(options.json ? text::tokens_json(*tokenizer, ids) + "\n"
                     : text::tokens_text(*tokenizer, ids, table_columns()));
}

}  // namespace

void add_tokenize(CommandLine& line) {
  Command command = line.command("tokenize", "show the ids and pieces of a text");
  auto options = std::make_shared<Options>();
  options->model.add(command, {.file = false});
  Option text = command.add("--text", options->text, "the text").value("TEXT");
  command.add("--file", options->file, "a file that holds the text; - is standard input (the default)")
      .excludes(text)
      .value("FILE")
      .by_default("-");
  options->file = "-";
  add_bos(command, options->bos);
  add_json(command, options->json);
  command.runs([options, text] { run(*options, text.given()); });
}

}  // namespace outliers::apps
