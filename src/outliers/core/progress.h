// Progress of long work, and what goes on in it, for whoever watches. By itself nothing is shown: the program
// draws a line on the terminal (core/progress_line.h), a library's caller does what it likes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "outliers/core/export.h"

namespace outliers {

struct ProgressState {
  std::string what;    ///< "measuring"
  std::string unit;    ///< "tokens"
  int64_t total = 0;   ///< of these
  double done = 0;     ///< so far; parts of one count
  double seconds = 0;  ///< since it began
  bool ended = false;  ///< the last call: it is done, or given up
};

struct ProgressHandler {
  /// At most ten times a second, and once at the end, on the thread that called the library. What it throws
  /// ends the work and comes out of that call (but from the last call, where it is dropped).
  std::function<void(const ProgressState&)> progress;
  /// One line of what is worth knowing while one watches, but no warning.
  std::function<void(const std::string&)> note;
};

/// Replaces who is told; returns who was before. Nobody, at first. Not while work is going on.
OUTLIERS_API ProgressHandler set_progress_handler(ProgressHandler handler);

class Progress {
 public:
  Progress(std::string what, int64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Sets the amount done, which may be a part of one.
  void update(double done);
  void advance(int64_t by = 1) { update(state_.done + static_cast<double>(by)); }

  /// Whether anybody watches.
  static bool watched();
  static void note(const std::string& line);

 private:
  using Clock = std::chrono::steady_clock;
  void tell();

  ProgressState state_;
  Clock::time_point start_, last_;
  bool told_ = false;
};

}  // namespace outliers
