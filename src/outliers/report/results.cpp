#include "outliers/report/results.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/shape.h"
#include "outliers/results/field.h"
#include "outliers/results/json.h"

namespace outliers::report {
namespace {

constexpr const char* kResultsFile = "results.json";
constexpr const char* kArraysFile = "arrays.npz";

using Of = results::ArrayField::Of;

const results::ArrayField& array_field(std::string_view name, bool of_model) {
  for (const results::ArrayField& field : results::array_table()) {
    if (name == field.name && of_model == (field.of == Of::model)) return field;
  }
  fail(kArgument, "array {} is not one of docs/results.md", printable(std::string(name)));
}

/// By the letters of results::array_table(); a digit is a size of its own.
int64_t size_of(std::string_view letter, const results::Model& m, const results::Input* input) {
  switch (letter.front()) {
    case 'L':
      return m.layers;
    case 'D':
      return m.width;
    case 'F':
      return m.mlp_width;
    case 'H':
      return m.heads;
    case 'N':
      return input->sequences;
    case 'T':
      return input->tokens_per_sequence;
    case 'K':
      return input->kept_tokens;
    case 'J':
      return std::min(results::kLifeTokens, input->tokens_per_sequence);
    case 'd':
      return m.head_width;
    default:
      return std::stoll(std::string(letter));
  }
}

/// Whether the life cycle looked at it closely, and the model has it.
bool has_life(const Results& r, const results::ArrayField& field, const results::Input& input) {
  if (!input.is_prompt() || !r.data.lifecycle) return false;
  const char* const what = field.of == Of::prompt_born      ? "born"
                           : field.of == Of::prompt_removed ? "removed"
                                                            : "spread";
  for (const results::PromptLife& life : r.data.lifecycle->prompts) {
    if (life.input == input.name && life.choice(what))
      return r.arrays.has(fmt::format("{}.{}", input.name, field.name));
  }
  return false;
}

std::vector<std::string_view> letters_of(std::string_view shape) {
  std::vector<std::string_view> letters;
  for (size_t at = 0; at < shape.size();) {
    const size_t end = std::min(shape.find(' ', at), shape.size());
    letters.push_back(shape.substr(at, end - at));
    at = end + 1;
  }
  return letters;
}

}  // namespace

bool Results::has(std::string_view name, const results::Input* input) const {
  const results::ArrayField& field = array_field(name, input == nullptr);
  const std::vector<std::string>& made = data.run.measures;
  if (*field.measure != '\0' && std::find(made.begin(), made.end(), field.measure) == made.end())
    return false;
  switch (field.of) {
    case Of::prompt:
      return input->is_prompt();
    case Of::prompt_with_maps:
      return input->is_prompt() && input->attention_maps;
    case Of::prompt_born:
    case Of::prompt_removed:
    case Of::prompt_spread:
      return has_life(*this, field, *input);
    case Of::images:
      return data.images.has_value();
    case Of::corpus:
      return !input->is_prompt();
    case Of::input:
    case Of::model:
      return true;
  }
  return false;
}

at::Tensor Results::array(std::string_view name, const results::Input* input) const {
  const results::ArrayField& field = array_field(name, input == nullptr);
  const std::string file = (directory / kArraysFile).string(),
                    full = (input == nullptr ? "" : input->name + ".") + std::string(name);
  io::NpzArray array = arrays.open(full);
  const std::vector<std::string_view> letters = letters_of(field.shape);
  std::vector<int64_t> wanted;
  for (const std::string_view letter : letters) wanted.push_back(size_of(letter, data.model, input));
  require(array.shape() == wanted, "{}: {} has the shape {}, but [{}] here is {}", file, printable(full),
          shape_string(array.shape()), fmt::join(letters, ", "), shape_string(wanted));
  at::Tensor values = array.whole();
  array.finish();
  return values;
}

Results read_results(const std::filesystem::path& directory) {
  namespace fs = std::filesystem;
  const fs::path results = directory / kResultsFile, arrays = directory / kArraysFile;
  std::error_code ec;
  for (const fs::path& path : {results, arrays}) {
    require(fs::is_regular_file(path, ec), not_read(ENOENT),
            "{} holds no report: it has no {}; make one with outliers report", directory.string(),
            path.filename().string());
  }
  results::Results data = results::read(results);
  // Reports of the first schema have definitions under other names.
  if (data.definitions.empty()) data.definitions = results::definitions(data.criteria);
  return {directory, std::move(data), io::NpzReader(arrays)};
}

Results with_data(const Results& results, results::Results data) {
  return {results.directory, std::move(data), io::NpzReader(results.directory / kArraysFile)};
}

}  // namespace outliers::report
