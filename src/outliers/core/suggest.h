// "Did you mean ...?" for options, point names and families.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace outliers {

/// The candidate with the smallest edit distance to `word` when it is close enough to be a slip, else "".
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace outliers
