// A finished report, read back: what figures and pages are drawn from. Nothing in a report is believed before
// it is checked, because reports are sent around, edited and cut short: results.json is held against
// docs/results.schema.json (compiled in) and its counts and places against each other, the arrays against
// their documented shapes. What passes can be indexed without another look.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "outliers/io/npz.h"

namespace outliers::report {

/// What the letters in docs/results.md stand for.
struct Sizes {
  int64_t L, D, F, H;  ///< layers, width, MLP width, heads
  int64_t N, T;        ///< the corpus: sequences, tokens of each
  int64_t P, K;        ///< the prompt: tokens, and those whose activations are kept
};

struct Results {
  std::filesystem::path directory;
  nlohmann::ordered_json json;  ///< follows the schema; a null stands where a number was NaN or infinite
  Sizes sizes;
  io::NpzReader arrays;

  /// An array of docs/results.md, of the shape that stands there, on the CPU. NaN and infinities are kept:
  /// figures leave gaps for them. Throws where it is missing, damaged or of another shape.
  at::Tensor array(const std::string& name) const;
};

/// Opens results.json and arrays.npz of `directory`. Throws an Error that names the file and the field
/// (`activations.corpus.resid_out[3].top`) where something is missing, damaged, of another schema, or does
/// not fit the rest.
Results read_results(const std::filesystem::path& directory);

/// A number of results.json; NaN for null.
double number_of(const nlohmann::ordered_json& value);

/// The first field of `value` that breaks `schema`, as "a.b[2] is missing"; empty where there is none. Knows
/// the keywords of JSON Schema 2020-12 that docs/results.schema.json uses, except pattern; takes null for
/// any number.
std::string schema_problem(const nlohmann::ordered_json& value, const nlohmann::ordered_json& schema);

/// docs/results.schema.json.
const nlohmann::ordered_json& results_schema();

}  // namespace outliers::report
