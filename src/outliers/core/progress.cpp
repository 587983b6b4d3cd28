#include "outliers/core/progress.h"

#include <algorithm>
#include <utility>

namespace outliers {
namespace {

ProgressHandler& handler() {
  static ProgressHandler instance;
  return instance;
}

}  // namespace

ProgressHandler set_progress_handler(ProgressHandler next) {
  return std::exchange(handler(), std::move(next));
}

Progress::Progress(std::string what, int64_t total, std::string unit)
    : state_{.what = std::move(what), .unit = std::move(unit), .total = std::max<int64_t>(total, 1)},
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (!told_) return;
  state_.ended = true;
  try {
    tell();
  } catch (...) {  // what is done cannot be ended
  }
}

bool Progress::watched() {
  return static_cast<bool>(handler().progress);
}

void Progress::note(const std::string& line) {
  if (handler().note) handler().note(line);
}

void Progress::update(double done) {
  state_.done = done;
  if (!watched()) return;
  const auto now = Clock::now();
  if (now - last_ < std::chrono::milliseconds(100) && done < static_cast<double>(state_.total)) return;
  last_ = now;
  tell();
}

void Progress::tell() {
  if (!watched()) return;
  state_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  told_ = true;
  handler().progress(state_);
}

}  // namespace outliers
