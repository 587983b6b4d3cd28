// results.json and its like: the one place that turns results into JSON and back.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "outliers/core/export.h"
#include "outliers/results/intervention.h"
#include "outliers/results/perplexity.h"
#include "outliers/results/results.h"

namespace outliers::results {

/// The content of results.json, of schema outliers-results/2. indent -1: in one line. Bytes of texts that are
/// no UTF-8 become U+FFFD.
OUTLIERS_API std::string to_text(const Results& results, int indent = 1);
/// The content of perplexity.json, likewise.
OUTLIERS_API std::string to_text(const Perplexity& perplexity, int indent = 1);
/// The content of interventions.json, likewise.
OUTLIERS_API std::string to_text(const Interventions& interventions, int indent = 1);
/// A report's `findings` alone, likewise.
OUTLIERS_API std::string to_text(const std::vector<Finding>& findings, int indent = 1);
/// A report's `model` alone, in one line.
std::string to_text(const Model& model);

/// Reads results.json of schema outliers-results/2, or /1, which is converted. Nothing in it is believed
/// before it is checked, because reports are sent around, edited and cut short. Throws an Error that names
/// the file and the field ("layers[3].inputs.corpus.resid_out.top[0].channel") where something is missing, of
/// another type, or out of its range. Unknown fields are left alone: later versions add some.
OUTLIERS_API Results read(const std::filesystem::path& file);

/// Reads interventions.json, as carefully.
OUTLIERS_API Interventions read_interventions(const std::filesystem::path& file);

/// Files whose fields are in the table.
enum class File { results, perplexity, interventions };

/// docs/results.schema.json and its like: the JSON Schema (2020-12) of the table of fields.
OUTLIERS_API std::string schema_text(File file = File::results);

/// A line of the tables of docs/results.md and its like.
struct Documented {
  std::string path;  ///< "layers[].inputs.*.resid_out.massive"
  std::string type;  ///< "number", "list of objects", "whole number or null"
  std::string what, source;
  bool optional = false;  ///< may be left out
};
/// All fields, in the order of the file, each type's once, where it first stands. Their criteria are not
/// filled in.
std::vector<Documented> documented(File file = File::results);

/// The definitions of results, for who reads a number or a chart: what the fields of layers and summary are,
/// and others that have a source or a threshold, each by its path, with the criteria's numbers in them.
Named<Definition> definitions(const Criteria& criteria);

}  // namespace outliers::results
