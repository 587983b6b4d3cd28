// Where a layer's computation shows its tensors to the observers that asked for them.
#pragma once

#include <array>
#include <chrono>
#include <vector>

#include "outliers/run/observer.h"
#include "outliers/run/points.h"

namespace outliers::run {

/// Adds up the time spent inside Observer calls.
class Stopwatch {
 public:
  template <typename Action>
  auto time(Action&& action) {
    struct Lap {
      Stopwatch& watch;
      std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
      ~Lap() {
        watch.seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      }
    } lap{*this};
    return action();
  }
  double seconds() const { return seconds_; }

 private:
  double seconds_ = 0;
};

/// The points of one layer (or, with layer -1, of the model) of one input. Observers are asked once, at
/// construction.
class Tap {
 public:
  Tap(const std::vector<Observer*>& observers, int64_t layer, size_t input, Stopwatch& watch);

  bool wants(Point point) const { return !wanted_[static_cast<size_t>(point)].empty(); }
  bool wants_attention_sums() const { return !sums_.empty(); }
  void show(Point point, const Slice& slice, const at::Tensor& x) const;
  void show_attention_sums(const Slice& slice, const ops::AttentionSums& sums) const;

 private:
  static constexpr size_t kPoints = static_cast<size_t>(Point::logits) + 1;

  int64_t layer_;
  Stopwatch& watch_;
  std::array<std::vector<Observer*>, kPoints> wanted_;
  std::vector<Observer*> sums_;
};

}  // namespace outliers::run
