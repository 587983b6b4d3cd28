#include "outliers/studies/subjects.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/models/config_reader.h"
#include "outliers/models/corpus_source.h"
#include "outliers/studies/survey.h"
#include "outliers/text/corpus.h"

namespace outliers::studies {
namespace {

using results::InputKind;

constexpr const char* kPrompt = "Summer is warm. Winter is cold.\n";  // 2502.06415's
constexpr int64_t kDefaultTokens = 1024;

/// "prompt", "prompt2", ...: by the inputs of the kind that are there.
std::string new_name(const Subjects& subjects, InputKind kind) {
  const auto before = std::count_if(subjects.measured.begin(), subjects.measured.end(),
                                    [&](const measures::Input& input) { return input.kind == kind; });
  const std::string name = kind == InputKind::prompt ? "prompt" : "corpus";
  return before == 0 ? name : name + std::to_string(before + 1);
}

/// `source`: a prompt's text, a corpus's name.
void add(Subjects& subjects, InputKind kind, run::Input input, const std::string& source) {
  const at::Tensor& ids = input.ids;
  subjects.measured.push_back({input.name, kind, ids});
  results::Input& listed = subjects.listed.emplace_back();
  listed.name = input.name;
  listed.kind = kind;
  listed.source = source;
  listed.sequences = ids.size(0);
  listed.tokens_per_sequence = ids.size(1);
  for (int64_t t = 0; t < ids.size(1) && listed.is_prompt(); ++t) {
    const auto name = subjects.names->name(ids, 0, t);
    listed.ids.push_back(ids[0][t].item<int64_t>());
    listed.tokens.push_back(name.text);
    listed.classes.push_back(name.kind);
  }
  subjects.runs.push_back(std::move(input));
}

at::Tensor prompt_ids(const models::Model& model, const std::string& prompt, text::BosPolicy bos) {
  const Cause cause{ErrorKind::argument, {Setting::prompt}};
  require(!prompt.empty(), cause, "the prompt is empty; give some text");
  const std::vector<int32_t> ids = model.tokenizer().encode(prompt, bos);
  require(!ids.empty(), cause, "the prompt has no tokens; give some text");
  models::check_positions(model.config(), static_cast<int64_t>(ids.size()), "the prompt has", "shorten it",
                          Setting::prompt);
  return at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).unsqueeze(0);
}

Subjects of_text(const models::Model& model, const SurveyOptions& options) {
  const models::Config& config = model.config();
  const text::Tokenizer& tokenizer = model.tokenizer();
  int64_t tokens = options.tokens;
  if (tokens == 0) {
    tokens = config.max_positions > 0 ? std::min(kDefaultTokens, config.max_positions) : kDefaultTokens;
  }
  models::check_positions(config, tokens, "a window should have", "ask for fewer", Setting::tokens);
  Subjects subjects;
  subjects.names = std::make_unique<measures::TextNames>(tokenizer);
  const std::vector<std::string> prompts =
      options.prompts.empty() ? std::vector<std::string>{kPrompt} : options.prompts;
  for (const std::string& prompt : prompts) {
    add(subjects, InputKind::prompt,
        {new_name(subjects, InputKind::prompt), prompt_ids(model, prompt, options.bos)},
        text::replace_invalid_utf8(prompt));
  }
  const auto add_corpus = [&](text::Corpus corpus) {
    check_interrupt();
    const std::string source = printable(corpus.name);
    const at::Tensor windows = text::make_windows(tokenizer, std::move(corpus), options.sequences, tokens,
                                                  options.bos, options.seed);
    add(subjects, InputKind::corpus, {new_name(subjects, InputKind::corpus), windows}, source);
  };
  for (const std::filesystem::path& path : options.corpora) {
    require(options.ranks == nullptr || path != "-", Cause{ErrorKind::argument, {Setting::corpus}},
            "every rank reads the corpus, which standard input cannot give to all; name a file");
    add_corpus(models::open_corpus(path, options.text_field));
  }
  if (options.corpora.empty()) add_corpus(text::default_corpus());
  return subjects;
}

Subjects of_images(const models::Config& config, const models::Images& images) {
  require(images.pixels.defined(), Cause{ErrorKind::argument, {Setting::images}},
          "{} reads images, but there are none; name PNG, JPEG or .npy files, or a folder of them",
          printable(config.name));
  const int64_t height = images.pixels.size(2), width = images.pixels.size(3);
  const models::PatchGrid grid = models::patch_grid(config, height, width, "images");
  const models::Vision& vision = config.vision;
  results::Images listed;
  for (const std::string& name : images.names) listed.names.push_back(text::replace_invalid_utf8(name));
  listed.left_out = images.left_out;
  listed.height = height;
  listed.width = width;
  listed.patch_height = vision.patch_height;
  listed.patch_width = vision.patch_width;
  listed.rows = grid.rows;
  listed.columns = grid.columns;
  listed.registers = vision.registers;

  Subjects subjects;
  subjects.names = std::make_unique<measures::PatchNames>(config, grid);
  const auto image_input = [&](InputKind kind, const at::Tensor& pixels) {
    return run::image_input(config, new_name(subjects, kind), pixels);
  };
  add(subjects, InputKind::prompt, image_input(InputKind::prompt, images.pixels.narrow(0, 0, 1)),
      listed.names.front());
  add(subjects, InputKind::corpus, image_input(InputKind::corpus, images.pixels),
      fmt::format("{} image{} of {} x {} pixels{}", images.names.size(), images.names.size() == 1 ? "" : "s",
                  height, width,
                  images.left_out > 0 ? fmt::format(" ({} more left out)", images.left_out) : ""));
  subjects.images = std::move(listed);
  return subjects;
}

}  // namespace

Subjects subjects_of(const models::Model& model, const SurveyOptions& options) {
  return models::reads_images(model.config()) ? of_images(model.config(), options.images)
                                              : of_text(model, options);
}

}  // namespace outliers::studies
