// Lines, lists and tables in a terminal's columns.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace outliers {

/// Padded with spaces on the right to `width` columns.
std::string pad(std::string text, size_t width);
/// `text` folded at spaces to lines of at most `width` columns, and within words that are longer than a line;
/// all lines but the first start with `indent` spaces. A width of 0 folds nothing.
std::string fold(const std::string& text, size_t width, size_t indent);

/// Columns in front of the texts of a labelled list.
inline constexpr size_t kLabelColumns = 12;
/// A line of such a list, folded to `width` columns: the label, and the text beside it.
std::string labelled(std::string_view label, const std::string& text, size_t width);

/// Rows of cells in aligned columns, two spaces between; columns whose cells are all numbers are
/// right-aligned. At most `width` columns wide where that is not 0: texts are folded within their cells, and
/// where that does not do, a row becomes a list.
std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                  size_t width = 0);

}  // namespace outliers
