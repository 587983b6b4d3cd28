#include "outliers/api/model.h"

#include <utility>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/io/hub.h"
#include "outliers/models/config_reader.h"
#include "outliers/models/corpus_source.h"
#include "outliers/models/image_processor.h"
#include "outliers/models/model.h"
#include "outliers/models/tokenizer_source.h"
#include "outliers/text/corpus.h"

namespace outliers {
namespace {

void require_text(const models::Config& config) {
  require(!models::reads_images(config), Cause{ErrorKind::argument, {Setting::images}},
          "{} reads images; give it some", printable(config.name));
}

}  // namespace

std::filesystem::path fetch(const std::string& source, const std::string& revision, const std::string& file) {
  return io::resolve_model(source, revision, file);
}

std::vector<std::filesystem::path> fetch_data_set(const std::string& address) {
  return io::fetch_data_set(address);
}

std::unique_ptr<text::Tokenizer> open_tokenizer(const std::filesystem::path& path) {
  return models::open_tokenizer(path);
}

Model::Model(std::unique_ptr<models::Model> model) : model_(std::move(model)) {}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

Model Model::open(const std::string& source, const OpenOptions& options) {
  return Model(models::Model::open(fetch(source, options.revision, options.file), options.adapter));
}

const models::Config& Model::config() const {
  return model_->config();
}

bool Model::reads_images() const {
  return models::reads_images(config());
}

const io::Checkpoint& Model::checkpoint() const {
  return model_->checkpoint();
}

const text::Tokenizer& Model::tokenizer() const {
  return model_->tokenizer();
}

int64_t Model::parameters() const {
  return model_->parameters();
}

bool Model::has(const std::string& weight) const {
  return model_->has(weight);
}

at::Tensor Model::weight(const std::string& name, at::ScalarType dtype) const {
  require(has(name), Cause{ErrorKind::argument}, "{} has no weight {}; its names are like layer.0.q.weight",
          printable(config().name), printable(name));
  return model_->load(name, dtype);
}

run::Input Model::text(const std::string& text, text::BosPolicy bos) const {
  require_text(config());
  const Cause cause{ErrorKind::argument, {Setting::prompt}};
  require(!text.empty(), cause, "the prompt is empty; give some text");
  const std::vector<int32_t> tokens = tokenizer().encode(text, bos);
  require(!tokens.empty(), cause, "the prompt has no tokens; give some text");
  return ids({tokens.begin(), tokens.end()});
}

run::Input Model::ids(const std::vector<int64_t>& ids) const {
  require_text(config());
  models::check_positions(config(), static_cast<int64_t>(ids.size()), "there are", "shorten the prompt",
                          Setting::prompt);
  return {"text", at::tensor(ids, at::kLong).unsqueeze(0)};
}

run::Input Model::windows(const std::filesystem::path& corpus, const WindowOptions& options) const {
  require_text(config());
  models::check_positions(config(), options.tokens, "a window should have", "ask for fewer", Setting::tokens);
  text::Corpus text =
      corpus.empty() ? text::default_corpus() : models::open_corpus(corpus, options.text_field);
  return {"corpus", text::make_windows(tokenizer(), std::move(text), options.sequences, options.tokens,
                                       options.bos, options.seed)};
}

run::Input Model::images(const std::vector<std::filesystem::path>& paths, int64_t limit) const {
  require(models::reads_images(config()), Cause{ErrorKind::argument, {Setting::images}}, "{} reads text",
          printable(config().name));
  return run::image_input(config(), "images", models::read_images(*model_, paths, limit).pixels);
}

}  // namespace outliers
