#include "outliers/api/checkpoint.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "outliers/core/dtype.h"
#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/version.h"
#include "outliers/models/model.h"
#include "outliers/report/inspect_text.h"
#include "outliers/report/numbers.h"
#include "outliers/studies/describe.h"

namespace outliers {
namespace {

/// Says that a directory is an export, so that it may be replaced.
constexpr const char* kExportMarker = "outliers-export.json";

}  // namespace

struct Inspection::State {
  nlohmann::ordered_json description;
  std::optional<Error> problem;
};

Inspection::Inspection(std::unique_ptr<State> state) : state_(std::move(state)) {}
Inspection::~Inspection() = default;
Inspection::Inspection(Inspection&&) noexcept = default;

const std::optional<Error>& Inspection::problem() const {
  return state_->problem;
}

std::string Inspection::text(size_t columns) const {
  return report::inspect_text(state_->description, columns);
}

std::string Inspection::json() const {
  return state_->description.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

Inspection inspect(const std::string& source, const OpenOptions& options) {
  auto state = std::make_unique<Inspection::State>();
  const std::filesystem::path path = fetch(source, options.revision, options.file);
  try {
    state->description = studies::inspect(*models::Model::open(path, options.adapter));
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    // A checkpoint of no known family still has tensors to show; a file that is no checkpoint fails here
    // again.
    state->description = studies::inspect(*io::Checkpoint::open(path));
    state->description["problem"] = error.what();
    state->problem = error;
  }
  return Inspection(std::move(state));
}

models::Exported export_model(const std::string& source, const std::filesystem::path& directory,
                              const ExportOptions& options) {
  OutputDirectory output(directory, options.replace, kExportMarker);
  const auto model =
      models::Model::open(fetch(source, options.open.revision, options.open.file), options.open.adapter);
  models::Exported exported = models::export_checkpoint(*model, output.temporary(), options.files);
  OutputFile marker(output.temporary() / kExportMarker, false);
  marker.write(fmt::format("{{\"written_by\": \"outliers {} ({})\", \"dtype\": \"{}\"}}\n", version(),
                           commit(), dtype_name(options.files.dtype)));
  marker.commit();
  output.commit();
  return exported;
}

std::string export_text(const models::Exported& exported) {
  const std::string others = exported.tokenizer   ? ", the tokenizer's files"
                             : exported.processor ? ", preprocessor_config.json"
                                                  : "";
  return fmt::format("{} tensors, {} in {} file{}, config.json{}{}", exported.tensors,
                     report::bytes(static_cast<double>(exported.bytes)), exported.files,
                     exported.files == 1 ? "" : "s", others,
                     exported.missing.empty() ? "" : "; " + exported.missing);
}

}  // namespace outliers
