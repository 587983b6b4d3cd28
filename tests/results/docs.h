// What docs/ has from the table of fields.
#pragma once

#include <string>

#include "outliers/results/json.h"

namespace outliers::tests {

struct DocumentedFile {
  results::File file;
  std::string page, schema;  ///< names in docs/
};
inline const DocumentedFile kDocumentedFiles[] = {
    {results::File::results, "results.md", "results.schema.json"},
    {results::File::perplexity, "perplexity.md", "perplexity.schema.json"},
    {results::File::interventions, "interventions.md", "interventions.schema.json"},
};

/// The page of docs/ of a file with its tables as the code has them: each stands between a line `<!-- fields
/// PATH -->` (the fields below PATH that no longer PATH has) or `<!-- arrays -->` and a line `<!-- end -->`.
/// Throws where a line is not paired, or a field has no table.
std::string with_tables(const std::string& markdown, results::File file = results::File::results);

}  // namespace outliers::tests
