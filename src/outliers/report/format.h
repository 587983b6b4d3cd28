// Numbers and tables as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace outliers::report {

/// Three significant digits below 1,000, thousands with commas above: 0.19, 42.7, 1,199, 103,795.
std::string number(double value);
/// 24, 1,024, 151,936.
std::string count(int64_t value);
/// Decimal units: 398 MB, 1.50 GB.
std::string bytes(double value);
/// 0.42 s, 12.3 s, 4 min 05 s.
std::string seconds(double value);
/// 0.953 -> "95 %".
std::string percent(double share);
/// Sorted whole numbers as ranges: {0, 1, 2, 5} -> "0-2, 5".
std::string ranges(const std::vector<int64_t>& values);
/// One character a value, ▁ to █, on a log scale from the smallest to the largest.
std::string sparkline(const std::vector<double>& values);

/// Number of terminal columns of UTF-8 text, by wcwidth's rules for wide and combining characters.
size_t display_width(std::string_view text);
/// Padded with spaces on the right to `width` columns.
std::string pad(std::string text, size_t width);
/// `text` folded at spaces to lines of at most `width` columns; all lines but the first start with `indent`
/// spaces.
std::string fold(const std::string& text, size_t width, size_t indent);

/// Rows of cells in aligned columns, two spaces between; columns whose cells are all numbers are
/// right-aligned.
std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

}  // namespace outliers::report
