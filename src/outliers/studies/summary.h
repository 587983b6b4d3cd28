// What the numbers of a survey say together: where the outlier is born, carried and removed, in which
// channels and tokens, how well weights, activations and attention point at the same places, and the
// head-room of number formats.
#pragma once

#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

namespace outliers::studies {

/// The largest and the median abs x of one layer's output.
struct Extent {
  double max = 0, median = 0;
  /// 0 where the median is.
  double ratio() const { return median > 0 ? max / median : 0; }
};

/// A rise of max/median by less than this anywhere is not called an outlier: ordinary layers of language
/// models stay below 50.
inline constexpr double kFoundRatio = 100;

struct LifeSpan {
  std::optional<int64_t>
      born;  ///< layer whose ratio is the largest multiple of the layer's before, up to the peak
  std::optional<int64_t> peak;     ///< layer of the largest max
  std::optional<int64_t> removed;  ///< first layer after the peak from which on max < half of the peak's
};

/// `embedding` is what layer 0 reads. Nothing is set where no layer's ratio reaches kFoundRatio.
LifeSpan life_span(const Extent& embedding, const std::vector<Extent>& layers);

/// results.json's `summary`, from its other parts. `activation_attention` is the survey's share of outlier
/// keys that are outlier tokens; nothing where there are no such keys. Everything is told from the layers
/// before the one of `first_nonfinite` (describe_first()), from all where that is null.
nlohmann::ordered_json summarise(const nlohmann::ordered_json& results,
                                 std::optional<double> activation_attention,
                                 const nlohmann::ordered_json& first_nonfinite = nullptr);

}  // namespace outliers::studies
