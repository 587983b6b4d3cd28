#include "outliers/report/interventions.h"

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/report/page.h"
#include "outliers/report/page_text.h"
#include "outliers/results/json.h"

namespace outliers::report {

results::Interventions read_interventions(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / kInterventionsFile;
  std::error_code ec;
  require(std::filesystem::is_regular_file(file, ec), not_read(ENOENT),
          "{} holds no intervention: it has no {}; make one with outliers intervene", directory.string(),
          kInterventionsFile);
  return results::read_interventions(file);
}

std::string interventions_digest(const results::Interventions& r) {
  results::Interventions shown = r;
  for (results::InterventionRun& run : shown.runs) run.window_nll_nats.clear();
  return results::to_text(shown, -1);
}

void write_intervention_page(const results::Interventions& r, const std::filesystem::path& directory,
                             const std::filesystem::path& path) {
  OutputFile file(path, true);
  file.write(fill_template(intervention_template(),
                           {{"title", html_text(r.model.name)},
                            {"answer", html_text(interventions_sentence(r))},
                            {"interventions", html_json_text(interventions_digest(r))},
                            {"index", html_json({{"figures", figures_beside(directory)}})}}));
  file.commit();
}

}  // namespace outliers::report
