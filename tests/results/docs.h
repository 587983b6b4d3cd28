// What docs/ has from the table of fields.
#pragma once

#include <string>

namespace outliers::tests {

/// docs/results.md with its tables as the code has them: each stands between a line `<!-- fields PATH -->`
/// (the fields below PATH that no longer PATH has) or `<!-- arrays -->` and a line `<!-- end -->`. Throws
/// where a line is not paired, or a field has no table.
std::string with_tables(const std::string& markdown);

}  // namespace outliers::tests
