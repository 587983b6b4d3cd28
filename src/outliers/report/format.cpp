#include "outliers/report/format.h"

#include <algorithm>
#include <cmath>
#include <cwchar>

#include <fmt/format.h>

namespace outliers::report {
namespace {

std::string with_commas(std::string digits) {
  const size_t first = digits.front() == '-' ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

// Decodes one code point of valid UTF-8 and moves `i` past it; a stray byte counts as itself.
char32_t next(std::string_view text, size_t& i) {
  const auto lead = static_cast<unsigned char>(text[i++]);
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
  char32_t code = more == 3 ? lead & 0x07U : more == 2 ? lead & 0x0FU : more == 1 ? lead & 0x1FU : lead;
  for (int k = 0; k < more && i < text.size(); ++k)
    code = (code << 6) | (static_cast<unsigned char>(text[i++]) & 0x3FU);
  return code;
}

// The ranges that terminals draw in two columns (Unicode's East Asian Wide and emoji blocks) or in none.
int columns(char32_t c) {
  if ((c >= 0x300 && c <= 0x36F) || (c >= 0x200B && c <= 0x200F) || (c >= 0xFE00 && c <= 0xFE0F)) return 0;
  const bool wide =
      (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3) ||
      (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
      (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x20000 && c <= 0x3FFFD);
  return wide ? 2 : 1;
}

bool numeric(const std::string& cell) {
  return cell.find_first_not_of("0123456789.,-+%eE ") == std::string::npos;
}

}  // namespace

std::string number(double value) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  const double size = std::abs(value);
  if (size >= 999.5) return with_commas(fmt::format("{:.0f}", value));
  if (size >= 99.95) return fmt::format("{:.0f}", value);
  if (size >= 9.995) return fmt::format("{:.1f}", value);
  if (size >= 0.0995 || size == 0) return fmt::format("{:.2f}", value);
  return fmt::format("{:.2g}", value);
}

std::string count(int64_t value) {
  return with_commas(fmt::format("{}", value));
}

std::string bytes(double value) {
  const char* units[] = {"bytes", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(units)) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0) return fmt::format("{:.0f} bytes", value);
  return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, units[unit]);
}

std::string seconds(double value) {
  if (value < 9.995) return fmt::format("{:.2f} s", value);
  if (value < 59.95) return fmt::format("{:.1f} s", value);
  const auto whole = static_cast<int64_t>(std::llround(value));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string percent(double share) {
  const double value = share * 100;
  return fmt::format("{:.{}f} %", value, value != 0 && std::abs(value) < 9.95 ? 1 : 0);
}

std::string ranges(const std::vector<int64_t>& values) {
  std::string text;
  for (size_t i = 0; i < values.size();) {
    size_t end = i;
    while (end + 1 < values.size() && values[end + 1] == values[end] + 1) ++end;
    if (!text.empty()) text += ", ";
    text += end == i ? fmt::format("{}", values[i]) : fmt::format("{}-{}", values[i], values[end]);
    i = end + 1;
  }
  return text;
}

std::string sparkline(const std::vector<double>& values) {
  static const char* blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  double low = INFINITY, high = -INFINITY;
  for (const double v : values) {
    if (v > 0 && std::isfinite(v)) {
      low = std::min(low, std::log(v));
      high = std::max(high, std::log(v));
    }
  }
  std::string text;
  for (const double v : values) {
    const double height = v > 0 && std::isfinite(v) && high > low ? (std::log(v) - low) / (high - low) : 0;
    text += blocks[static_cast<size_t>(std::lround(height * 7))];
  }
  return text;
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size();) width += static_cast<size_t>(columns(next(text, i)));
  return width;
}

std::string pad(std::string text, size_t width) {
  const size_t now = display_width(text);
  if (now < width) text.append(width - now, ' ');
  return text;
}

std::string fold(const std::string& text, size_t width, size_t indent) {
  std::string result;
  size_t used = indent;
  bool line_start = true;
  for (size_t i = 0; i < text.size();) {
    const size_t end = std::min(text.find(' ', i), text.size());
    const std::string word = text.substr(i, end - i);
    const size_t word_width = display_width(word);
    if (!line_start && used + 1 + word_width > width) {
      result += "\n" + std::string(indent, ' ');
      used = indent;
      line_start = true;
    }
    if (!line_start) {
      result += ' ';
      ++used;
    }
    result += word;
    used += word_width;
    line_start = false;
    i = end + 1;
  }
  return result;
}

std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  std::vector<bool> right;
  for (size_t c = 0; c < header.size(); ++c) {
    size_t width = display_width(header[c]);
    bool numbers = !rows.empty();
    for (const auto& row : rows) {
      width = std::max(width, display_width(row[c]));
      numbers = numbers && numeric(row[c]);
    }
    widths.push_back(width);
    right.push_back(numbers);
  }
  std::string text;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string out;
    for (size_t c = 0; c < cells.size(); ++c) {
      if (c > 0) out += "  ";
      out += right[c] ? std::string(widths[c] - display_width(cells[c]), ' ') + cells[c]
                      : pad(cells[c], widths[c]);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    text += out + "\n";
  };
  line(header);
  for (const auto& row : rows) line(row);
  return text;
}

}  // namespace outliers::report
