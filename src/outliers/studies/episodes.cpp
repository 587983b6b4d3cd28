#include "outliers/studies/episodes.h"

#include <algorithm>
#include <cmath>

namespace outliers::studies {
namespace {

class Finder {
 public:
  Finder(const Trace& trace, const std::vector<double>& medians, const Criteria& criteria)
      : trace_(trace), medians_(medians), c_(criteria) {}

  std::vector<results::Episode> operator()() const {
    std::vector<results::Episode> list;
    int64_t begin = 0;
    double lowest = 0;  // since the last one ended
    for (int64_t l = 0; l < count(); ++l) {
      lowest = std::min(lowest, size(l));
      if (!is_found(l) || size(l) * c_.removed_share < lowest) continue;
      list.push_back(from(begin, l));
      if (!list.back().removed_layer) break;
      begin = l = *list.back().removed_layer;
      lowest = size(l);
    }
    return list;
  }

 private:
  int64_t count() const { return static_cast<int64_t>(medians_.size()); }
  double value(int64_t layer) const { return trace_.values[static_cast<size_t>(layer)]; }
  double size(int64_t layer) const { return std::abs(layer < 0 ? trace_.embedding : value(layer)); }
  bool is_found(int64_t layer) const {
    return size(layer) > 0 && size(layer) >= c_.found_ratio * medians_[static_cast<size_t>(layer)];
  }

  /// `begin`: where the one before ended.
  results::Episode from(int64_t begin, int64_t first) const {
    results::Episode episode;
    episode.token = trace_.token;
    episode.channel = trace_.channel;
    episode.peak_layer = first;
    int64_t l = first + 1;
    for (; l < count() && size(l) >= c_.removed_share * size(episode.peak_layer); ++l) {
      if (size(l) > size(episode.peak_layer)) episode.peak_layer = l;
    }
    if (l < count()) episode.removed_layer = l;
    episode.peak = value(episode.peak_layer);

    const double step = c_.step_share * size(episode.peak_layer);
    double largest = 0;
    for (int64_t b = begin; b <= episode.peak_layer; ++b) {
      const double multiple = size(b) / std::max(size(b - 1), step);
      if (multiple > largest) {
        largest = multiple;
        episode.born_layer = b;
      }
      if (size(b) - size(b - 1) >= step) episode.step_up.push_back(b);
    }
    for (int64_t d = episode.peak_layer + 1; d < count(); ++d) {
      if (size(d - 1) - size(d) >= step) episode.step_down.push_back(d);
      if (d > l && size(d) - size(d - 1) >= step) break;  // of another one
    }
    return episode;
  }

  const Trace& trace_;
  const std::vector<double>& medians_;
  const Criteria& c_;
};

}  // namespace

std::vector<results::Episode> episodes_of(const Trace& trace, const std::vector<double>& medians,
                                          const Criteria& criteria) {
  return Finder(trace, medians, criteria)();
}

}  // namespace outliers::studies
