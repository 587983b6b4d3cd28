#include "outliers/core/progress_line.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <unistd.h>

#include "outliers/core/display.h"
#include "outliers/core/error.h"
#include "outliers/core/progress.h"
#include "outliers/core/terminal.h"

namespace outliers {
namespace {

/// The line on the terminal: there is one, whoever draws it.
std::mutex g_mutex;
bool g_drawn = false;

/// Columns that can be written without wrapping, on any terminal; 0: none.
size_t usable_columns() {
  const size_t columns = terminal_columns(STDERR_FILENO);
  return (columns == 0 ? 80 : columns) - 1;
}

/// With g_mutex held. The whole line: the terminal may have echoed a ^C behind ours.
void erase() {
  if (!g_drawn) return;
  std::fprintf(stderr, "\r%*s\r", static_cast<int>(usable_columns()), "");
  std::fflush(stderr);
  g_drawn = false;
}

/// The line, in so many columns. What is least needed goes first: rate and time left, then the end of the
/// name.
std::string line_of(const ProgressState& state, size_t columns) {
  const std::string what = printable(state.what);
  const std::string amount = fmt::format("{:.0f}/{} {}", std::floor(state.done), state.total, state.unit);
  const double rate = state.seconds > 0 ? state.done / state.seconds : 0;
  std::string tail;
  if (rate > 0) {
    const double left = std::max(0.0, static_cast<double>(state.total) - state.done) / rate;
    const auto seconds = static_cast<int64_t>(left + 0.5);
    tail = fmt::format("  {:.3g} {}/s  {}:{:02} left", rate, state.unit, seconds / 60, seconds % 60);
  }
  if (display_width(what) + 2 + amount.size() + tail.size() > columns) tail.clear();
  const size_t rest = amount.size() + 2 + tail.size();
  return rest < columns ? shorten(what, columns - rest) + ": " + amount + tail : amount.substr(0, columns);
}

void draw(const ProgressState& state) {
  const std::lock_guard lock(g_mutex);
  erase();
  if (state.ended) return;
  std::fputs(line_of(state, usable_columns()).c_str(), stderr);
  std::fflush(stderr);
  g_drawn = true;
}

}  // namespace

void show_progress_line() {
  if (!can_redraw()) return;
  set_progress_handler({.progress = draw, .note = [](const std::string& line) {
                          clear_progress_line();
                          std::fprintf(stderr, "%s\n", printable(line, std::string::npos).c_str());
                        }});
}

void clear_progress_line() {
  const std::lock_guard lock(g_mutex);
  erase();
}

}  // namespace outliers
