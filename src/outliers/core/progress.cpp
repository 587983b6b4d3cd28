#include "outliers/core/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <unistd.h>

#include "outliers/core/display.h"
#include "outliers/core/error.h"
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

}  // namespace

Progress::Progress(std::string what, int64_t total, std::string unit)
    : what_(printable(what)),
      unit_(std::move(unit)),
      total_(std::max<int64_t>(total, 1)),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  clear();
}

bool Progress::visible() {
  static const bool redraws = can_redraw();
  return redraws;
}

void Progress::clear() {
  const std::lock_guard lock(g_mutex);
  erase();
}

void Progress::update(double done) {
  done_ = done;
  if (!visible()) return;
  const auto now = Clock::now();
  if (now - last_ < std::chrono::milliseconds(100) && done < static_cast<double>(total_)) return;
  last_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = seconds > 0 ? done / seconds : 0;
  const std::string amount = fmt::format("{:.0f}/{} {}", std::floor(done), total_, unit_);
  std::string tail;
  if (rate > 0) {
    const auto left = static_cast<int64_t>(std::max(0.0, static_cast<double>(total_) - done) / rate + 0.5);
    tail = fmt::format("  {:.3g} {}/s  {}:{:02} left", rate, unit_, left / 60, left % 60);
  }
  const std::lock_guard lock(g_mutex);
  const size_t columns = usable_columns();
  // What is least needed goes first: rate and time left, then the end of the name.
  if (display_width(what_) + 2 + amount.size() + tail.size() > columns) tail.clear();
  const size_t rest = amount.size() + 2 + tail.size();
  const std::string line =
      rest < columns ? shorten(what_, columns - rest) + ": " + amount + tail : amount.substr(0, columns);
  erase();
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  g_drawn = true;
}

}  // namespace outliers
