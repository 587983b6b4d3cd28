#include "survey_arguments.h"

#include <algorithm>

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"

namespace outliers::apps {

void SurveyArguments::add_model(Command& command) {
  model_.add(command, {.adapter = true});
}

void SurveyArguments::add_prompts(Command& command) {
  // Each may be given again and again.
  const auto add_prompt = [&](const char* name, bool is_file, const char* use, const char* value) {
    const auto take = [this, is_file](const std::string& text) { prompts_.push_back({text, is_file}); };
    return command.add_repeated(name, take, use).value(value);
  };
  Option prompt = add_prompt(
      "--prompt", false, "text to look at token by token (default: the paper's); may be repeated", "TEXT");
  Option prompt_file = add_prompt("--prompt-file", true, kPromptFileUse, "FILE");
  add_images(command, images_, "the first is looked at token by token, all are measured on");
  of_text_ = {prompt, prompt_file, add_bos(command, survey_.bos)};
}

void SurveyArguments::add_inputs(Command& command) {
  add_prompts(command);
  Option corpus =
      command
          .add_repeated(
              "--corpus", [this](const std::string& path) { corpora_.push_back(path); },
              "text to measure on: plain text or JSON lines (.jsonl), also compressed by gzip or zstd, "
              "Parquet, "
              "or hf://datasets/OWNER/NAME/FILE on the Hub; - is standard input (default: one that comes "
              "along); may be repeated")
          .value("FILE");
  Option text_field = command
                          .add("--text-field", survey_.text_field,
                               "reads the corpus as JSON lines or Parquet and takes this field of each row "
                               "(default: text, else content)")
                          .value("NAME");
  command.add("--sequences", survey_.sequences, "windows of the corpus, or images at most")
      .between(int64_t{1}, int64_t{1} << 30)
      .by_default(fmt::format("{}; {} images", kDefaultSequences, kDefaultImages))
      .value("N");
  Option tokens = command.add("--tokens", survey_.tokens, "tokens of a window, a BOS counted")
                      .between(int64_t{2}, int64_t{1} << 30)
                      .by_default("1024, or the positions there are")
                      .value("N");
  of_text_.insert(of_text_.end(), {corpus, text_field, tokens});
  command
      .add("--sink-epsilon", survey_.sink_epsilon, "a key is a sink where its mean probability is above this")
      .not_negative()
      .shows_default()
      .value("P");
  command.add("--sink-queries", survey_.sink_queries, "over so many queries, the first")
      .between(int64_t{1}, int64_t{1} << 30)
      .shows_default()
      .value("N");
}

void SurveyArguments::add_machine(Command& command) {
  add_compute(command);
  Option seed =
      command.add("--seed", survey_.seed, "0: the corpus from its start; else windows from random places")
          .between(uint64_t{0}, uint64_t{results::kLargestSeed})
          .shows_default()
          .value("N");
  of_text_.push_back(seed);
}

void SurveyArguments::add_rules(Command& command) {
  command
      .add("--rules", rules_,
           "rules of the findings, in TOML; 'list' prints the built-in ones, to be changed")
      .by_default("the built-in ones")
      .value("FILE");
}

bool SurveyArguments::prints_rules() const {
  if (rules_ != "list") return false;
  print(Rules::built_in_text());
  return true;
}

Model SurveyArguments::open() const {
  Model model = model_.open();
  const std::string name = printable(model.config().name);
  if (!model.reads_images()) {
    if (!images_.empty()) throw UsageError(fmt::format("--images: {} reads text", name));
    return model;
  }
  for (const Option& option : of_text_) {
    if (option.given()) throw UsageError(fmt::format("{}: {} reads images", option.name(), name));
  }
  if (images_.empty()) {
    throw UsageError(fmt::format(
        "{} reads images: name PNG, JPEG or .npy files, or a folder of them, with --images", name));
  }
  return model;
}

SurveyOptions SurveyArguments::options() const {
  const auto is_standard_input = [](const std::string& path) { return path == "-"; };
  std::vector<std::string> files = corpora_;
  for (const Prompt& prompt : prompts_) {
    if (prompt.is_file) files.push_back(prompt.text);
  }
  if (std::count_if(files.begin(), files.end(), is_standard_input) > 1)
    throw UsageError("--prompt-file and --corpus cannot both be standard input, nor twice");
  SurveyOptions survey = survey_;
  for (const Prompt& prompt : prompts_)
    survey.prompts.push_back(prompt.is_file ? read_text(prompt.text) : prompt.text);
  survey.corpora.assign(corpora_.begin(), corpora_.end());
  survey.rules = rules();
  survey.images.assign(images_.begin(), images_.end());
  return survey;
}

}  // namespace outliers::apps
