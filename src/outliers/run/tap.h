// Where a layer's computation hands its tensors to the edits of an input and then to the observers that asked
// for them.
#pragma once

#include <array>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "outliers/run/edit_statistics.h"
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

/// The edits of an input in one layer (or, of layer -1, of the model), by point.
using LayerEdits = std::map<Point, SiteEdits>;

/// The points of one layer (or, with layer -1, of the model) of one input. Observers are asked once, when
/// they are added.
class Tap {
 public:
  Tap(int64_t layer, Stopwatch& watch) : layer_(layer), watch_(watch) {}
  Tap(const std::vector<Observer*>& observers, int64_t layer, size_t input, Stopwatch& watch)
      : Tap(layer, watch) {
    for (Observer* observer : observers) add(*observer, input);
  }

  /// Shows what it wants of an input: this one, or one that is still the same.
  void add(Observer& observer, size_t input);
  void edit(const LayerEdits* edits) { edits_ = edits; }
  /// As in ops::AttentionSums.
  void measure_sinks_over(int64_t queries) { sink_queries_ = queries; }

  bool wants(Point point) const { return !wanted_[static_cast<size_t>(point)].empty(); }
  bool edits(Point point) const { return edits_ != nullptr && edits_->count(point) > 0; }
  bool wants_attention_sums() const { return !sums_.empty(); }
  /// To be filled for show_attention_sums().
  ops::AttentionSums empty_sums() const { return {.sink_queries = sink_queries_}; }
  /// The points that are wanted and what edits do: what makes the memory that a layer takes differ.
  std::string kinds() const;
  // Of meta tensors, which have no data, nothing is shown.
  /// What flows on: x, or what the edits make of it, which is what observers see. experts: experts.index, of
  /// points by expert.
  at::Tensor pass(Point point, const Slice& slice, at::Tensor x, const at::Tensor& experts = {}) const;
  void show(Point point, const Slice& slice, const at::Tensor& x) const;
  void show_attention_sums(const Slice& slice, const ops::AttentionSums& sums) const;

 private:
  static constexpr size_t kPoints = static_cast<size_t>(Point::logits) + 1;
  struct Listener {
    Observer* observer;
    size_t input;
  };

  int64_t layer_;
  Stopwatch& watch_;
  const LayerEdits* edits_ = nullptr;
  std::array<std::vector<Listener>, kPoints> wanted_;
  std::vector<Listener> sums_;
  int64_t sink_queries_ = ops::AttentionSums{}.sink_queries;
};

}  // namespace outliers::run
