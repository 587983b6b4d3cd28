// A finished report, read back: what figures and pages are drawn from. Nothing in a report is believed before
// it is checked, because reports are sent around, edited and cut short: results.json by results::read, the
// arrays against results::array_table(). What passes can be indexed without another look.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "outliers/io/npz.h"
#include "outliers/results/results.h"

namespace outliers::report {

struct Results {
  std::filesystem::path directory;
  results::Results data;
  io::NpzReader arrays;

  /// Whether `name` was measured: of `input`, or without one an array of the model.
  bool has(std::string_view name, const results::Input* input = nullptr) const;
  /// An array of results::array_table(), of the shape that stands there, on the CPU. NaN and infinities are
  /// kept: figures leave gaps for them. Throws where it is missing, damaged or of another shape.
  at::Tensor array(std::string_view name, const results::Input* input = nullptr) const;
};

/// Opens results.json and arrays.npz of `directory`. Throws an Error that names the file and the field
/// (`layers[3].inputs.corpus.resid_out.top`) where something is missing, damaged, of another schema, or does
/// not fit the rest.
Results read_results(const std::filesystem::path& directory);

/// The same with other results in the place of its own.
Results with_data(const Results& results, results::Results data);

}  // namespace outliers::report
