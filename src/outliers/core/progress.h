// Progress of long work: one line on standard error that rewrites itself, with rate and time left. It is
// never wider than the terminal and has no escape sequences: it is overwritten with spaces. Silent unless
// standard error is a terminal, and where TERM is dumb.
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

  /// Whether progress is drawn at all.
  static bool visible();
  /// Takes the line away, if one is drawn, before something else is written to standard error. The next
  /// update() draws it again. Safe from any thread.
  static void clear();

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_, unit_;
  int64_t total_;
  double done_ = 0;
  Clock::time_point start_, last_;
};

}  // namespace outliers
