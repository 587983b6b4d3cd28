#include "outliers/core/terminal.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sys/ioctl.h>
#include <unistd.h>

namespace outliers {
namespace {

constexpr size_t kUnknown = 80, kLeast = 40, kMost = 10000;

}  // namespace

size_t terminal_columns(int fd) {
  if (isatty(fd) != 1) return 0;
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* columns = std::getenv("COLUMNS");
  const long said = columns == nullptr ? 0 : std::strtol(columns, nullptr, 10);
  return said > 0 ? std::min(static_cast<size_t>(said), kMost) : 0;
}

size_t text_columns() {
  const size_t columns = terminal_columns(STDOUT_FILENO);
  return columns == 0 ? kUnknown : std::max(columns, kLeast);
}

size_t table_columns() {
  const size_t columns = terminal_columns(STDOUT_FILENO);
  return columns == 0 ? 0 : std::max(columns, kLeast);
}

bool can_redraw() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && (term == nullptr || std::strcmp(term, "dumb") != 0);
}

}  // namespace outliers
