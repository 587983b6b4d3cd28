#include "outliers/core/table.h"

#include <algorithm>

#include <fmt/format.h>

#include "outliers/core/display.h"

namespace outliers {

std::string pad(std::string text, size_t width) {
  const size_t now = display_width(text);
  if (now < width) text.append(width - now, ' ');
  return text;
}

namespace {

/// Bytes of the part of `word` that fits `columns`, at least one character: up to the last place where a name
/// or a path may be broken, if one lies in the second half.
size_t part_that_fits(std::string_view word, size_t columns) {
  size_t fits = 0, good = 0;
  while (fits < word.size()) {
    size_t next = fits + 1;
    while (next < word.size() && (static_cast<unsigned char>(word[next]) & 0xC0) == 0x80) ++next;
    if (fits > 0 && display_width(word.substr(0, next)) > columns) break;
    fits = next;
    if (std::string_view("/._-,:=").find(word[fits - 1]) != std::string_view::npos) good = fits;
  }
  return fits < word.size() && good >= fits / 2 && good > 0 ? good : fits;
}

}  // namespace

std::string fold(const std::string& text, size_t width, size_t indent) {
  if (width == 0) return text;
  std::string result;
  size_t used = indent;
  bool line_start = true;
  const auto new_line = [&] {
    result += "\n" + std::string(indent, ' ');
    used = indent;
    line_start = true;
  };
  const size_t room = std::max<size_t>(width, indent + 1) - indent;
  for (size_t i = 0; i < text.size();) {
    size_t end = std::min(text.find(' ', i), text.size());
    if (text.compare(end, 2, " %") == 0) end = std::min(text.find(' ', end + 1), text.size());
    std::string_view word = std::string_view(text).substr(i, end - i);
    if (!line_start && used + 1 + display_width(word) > width) new_line();
    if (!line_start) {
      result += ' ';
      ++used;
    }
    for (; display_width(word) > room; new_line()) {
      const size_t part = part_that_fits(word, room);
      if (part == word.size()) break;
      result += word.substr(0, part);
      word.remove_prefix(part);
    }
    result += word;
    used += display_width(word);
    line_start = false;
    i = end + 1;
  }
  return result;
}

std::string labelled(std::string_view label, const std::string& text, size_t width) {
  return fmt::format("{:<{}}{}\n", label, kLabelColumns, fold(text, width, kLabelColumns));
}

namespace {

using Cells = std::vector<std::string>;

bool numeric(const std::string& cell) {
  return cell.find_first_not_of("0123456789.,-+%eE ") == std::string::npos;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t i = 0; i <= text.size();) {
    const size_t end = std::min(text.find('\n', i), text.size());
    lines.push_back(text.substr(i, end - i));
    i = end + 1;
  }
  return lines;
}

/// Too narrow for columns: "column  cell" below one another, rows apart.
std::string records(const Cells& header, const std::vector<Cells>& rows, size_t width) {
  size_t names = 0;
  for (const std::string& name : header) names = std::max(names, display_width(name) + 2);
  std::string text;
  for (const Cells& row : rows) {
    if (!text.empty()) text += "\n";
    for (size_t c = 0; c < header.size(); ++c)
      text += pad(header[c], names) + fold(row[c], width, names) + "\n";
  }
  return text;
}

}  // namespace

std::string table(const Cells& header, const std::vector<Cells>& rows, size_t width) {
  constexpr size_t kLeast = 10;  // columns that a text is folded to
  std::vector<size_t> widths;
  std::vector<bool> right;
  size_t total = 0;
  for (size_t c = 0; c < header.size(); ++c) {
    size_t most = display_width(header[c]);
    bool numbers = !rows.empty();
    for (const Cells& row : rows) {
      most = std::max(most, display_width(row[c]));
      numbers = numbers && numeric(row[c]);
    }
    widths.push_back(most);
    right.push_back(numbers);
    total += most + (c > 0 ? 2 : 0);
  }
  // Where it is too wide, the widest text gives way, a column at a time.
  while (width > 0 && total > width) {
    size_t widest = header.size();
    for (size_t c = 0; c < header.size(); ++c) {
      if (!right[c] && widths[c] > std::max(kLeast, display_width(header[c])) &&
          (widest == header.size() || widths[c] > widths[widest]))
        widest = c;
    }
    if (widest == header.size()) return records(header, rows, width);
    --widths[widest];
    --total;
  }
  std::string text;
  const auto add = [&](const Cells& cells) {
    std::vector<std::vector<std::string>> folded;
    size_t height = 0;
    for (size_t c = 0; c < cells.size(); ++c) {
      folded.push_back(display_width(cells[c]) > widths[c] ? lines_of(fold(cells[c], widths[c], 0))
                                                           : std::vector<std::string>{cells[c]});
      height = std::max(height, folded.back().size());
    }
    for (size_t l = 0; l < height; ++l) {
      std::string out;
      for (size_t c = 0; c < cells.size(); ++c) {
        const std::string cell = l < folded[c].size() ? folded[c][l] : "";
        if (c > 0) out += "  ";
        out += right[c] ? std::string(widths[c] - display_width(cell), ' ') + cell : pad(cell, widths[c]);
      }
      out.erase(out.find_last_not_of(' ') + 1);
      text += out + "\n";
    }
  };
  add(header);
  for (const Cells& row : rows) add(row);
  return text;
}

}  // namespace outliers
