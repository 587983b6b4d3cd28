// Progress of long work: one line on standard error that rewrites itself, with rate and time left.
// Silent unless standard error is a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace outliers {

class Progress {
 public:
  /// `what` is shown in front ("layers"); `total` is in `unit`s.
  Progress(std::string what, int64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Sets the amount done, which may be a part of one; draws at most ten times a second.
  void update(double done);
  void advance(int64_t by = 1) { update(done_ + static_cast<double>(by)); }

  /// Whether progress is drawn at all: standard error is a terminal.
  static bool visible();

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_, unit_;
  int64_t total_;
  double done_ = 0;
  Clock::time_point start_, last_;
  bool drawn_ = false;
};

}  // namespace outliers
