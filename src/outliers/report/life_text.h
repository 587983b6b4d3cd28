// The outlier's life in words: where it is born, carried and removed, and where the story ends because values
// are no longer finite.
#pragma once

#include <string>
#include <vector>

#include "outliers/report/summary_text.h"

namespace outliers::report {

/// "not finite" where something is; then, of the first prompt, "born", "carried" and "removed", or "outlier"
/// where there is none. Nothing of a life where that was not measured.
std::vector<SummaryLine> life_lines(const results::Results& r);

/// The first prompt's residual stream, the largest values, a character a layer: one line, or as many as a
/// width of `columns` takes; none where they were not measured.
std::vector<std::string> life_strip(const results::Results& r, size_t columns);

/// In one sentence: "born in layer 2 of 24, largest in 15 (1,815, 4,045 medians), removed in 22"; "not
/// measured" without a life.
std::string life_sentence(const results::Results& r, const results::Input* prompt);

/// The layer of the prompt's largest value: its life's peak_layer, or without an outlier the largest of all
/// that can be told of; nothing where that is none.
std::optional<int64_t> peak_layer(const results::Results& r, const results::Input& prompt);

}  // namespace outliers::report
