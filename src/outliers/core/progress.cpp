#include "outliers/core/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <unistd.h>

#include <fmt/format.h>

namespace outliers {

Progress::Progress(std::string what, int64_t total, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(std::max<int64_t>(total, 1)),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (drawn_) {
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
  }
}

bool Progress::visible() {
  static const bool terminal = isatty(STDERR_FILENO) == 1;
  return terminal;
}

void Progress::update(double done) {
  done_ = done;
  if (!visible()) return;
  const auto now = Clock::now();
  if (now - last_ < std::chrono::milliseconds(100) && done < static_cast<double>(total_)) return;
  last_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = seconds > 0 ? done / seconds : 0;
  std::string line = fmt::format("{}: {:.0f}/{} {}", what_, std::floor(done), total_, unit_);
  if (rate > 0) {
    const auto left = static_cast<int64_t>((static_cast<double>(total_) - done) / rate + 0.5);
    line += fmt::format("  {:.3g} {}/s  {}:{:02} left", rate, unit_, left / 60, left % 60);
  }
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace outliers
