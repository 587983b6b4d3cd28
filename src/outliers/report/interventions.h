// A finished intervention: its files read back, its figures and its page.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "outliers/report/figure.h"
#include "outliers/results/intervention.h"

namespace outliers::report {

inline constexpr const char* kInterventionsFile = "interventions.json";

/// Throws an Error that names the file and the field where `directory` has none, or a damaged one.
results::Interventions read_interventions(const std::filesystem::path& directory);

/// interventions_ppl, interventions_max, interventions_ratio.
std::vector<std::string> intervention_figure_names();
/// Those called `names`, all where it is empty: perplexity of each edited run beside its controls, and the
/// largest value of each layer and its ratio to the median without and with the edits. Throws UsageError for
/// an unknown name.
std::vector<Figure> make_intervention_figures(const results::Interventions& r,
                                              const std::vector<std::string>& names);

/// The plain run's perplexity, and the edits that change it most, in a sentence.
std::string interventions_sentence(const results::Interventions& r);

/// What pages show of it, for html_json_text(): without each window's numbers.
std::string interventions_digest(const results::Interventions& r);

/// Writes `path`, under a temporary name first; `directory` says which figures stand beside it.
void write_intervention_page(const results::Interventions& r, const std::filesystem::path& directory,
                             const std::filesystem::path& path);

}  // namespace outliers::report
