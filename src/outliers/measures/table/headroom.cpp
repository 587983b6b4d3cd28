// The largest abs x of every point, which says what number formats can hold it.
#include <array>
#include <cmath>
#include <string_view>

#include "outliers/core/formats.h"
#include "outliers/measures/measure.h"
#include "outliers/measures/tensors.h"
#include "outliers/stats/largest.h"

namespace outliers::measures {
namespace {

using run::Point;

/// A place, as what passes between ranks.
struct Found {
  bool any = false;
  double value = 0;
  int64_t sequence = 0;
  // -1 where the point has no such part.
  int64_t token = -1, head = -1, channel = -1;
  int64_t expert = run::kNoExpert;
};

std::optional<int64_t> part_of_place(int64_t number) {
  return number < 0 ? std::nullopt : std::optional(number);
}

results::Amax amax_of(const Found& found) {
  results::Amax amax;
  amax.value = found.value;
  amax.sequence = found.sequence;
  amax.token = part_of_place(found.token);
  amax.head = part_of_place(found.head);
  amax.channel = part_of_place(found.channel);
  if (found.expert != run::kNoExpert) amax.expert = results::Expert{found.expert};
  for (const NumberFormat& format : kNumberFormats) {
    if (format.has_range) amax.of_largest[format.name] = std::abs(found.value) / format.largest;
  }
  return amax;
}

class Headroom : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t layer) const override {
    PointSet points = {};
    for (const run::PointInfo& info : run::point_table()) {
      if (info.per_layer == (layer >= 0) && is_looked_at(info.point, layer)) points.add(info.point);
    }
    return {.points = points, .attention_sums = layer >= 0};
  }

  void add(const run::Site& site, const at::Tensor& x, int64_t first_sequence) override {
    if (site.point == Point::experts_index) {
      index_ = x.cpu();
      return;
    }
    const std::optional<stats::Largest> largest = stats::largest_abs(x);
    if (!largest || !is_larger(site.point, largest->value)) return;
    of(site.point) = place(site.point, x, largest->place);
    of(site.point).value = largest->value;
    of(site.point).sequence += first_sequence;
  }

  void add_attention_sums(const ops::AttentionSums& sums, int64_t first_sequence) override {
    // By sequence and head, so that the first of equal ones is found first.
    const at::Tensor both = on_host(at::stack({sums.logit_max, sums.logit_min}, 2));  // [b,H,2]
    const auto value = both.accessor<float, 3>();
    for (int64_t b = 0; b < both.size(0); ++b) {
      for (int64_t h = 0; h < both.size(1); ++h) {
        for (const double x : {value[b][h][0], value[b][h][1]}) {
          if (!std::isfinite(x) || !is_larger(Point::attn_logits, x)) continue;
          of(Point::attn_logits) = {.any = true, .value = x, .sequence = first_sequence + b, .head = h};
        }
      }
    }
  }

  void save(ByteWriter& out) const override { out.put(found_); }
  void merge(ByteReader& in) override {
    const auto theirs = in.get<decltype(found_)>();
    for (size_t p = 0; p < found_.size(); ++p) {
      if (theirs[p].any && is_larger(Point{static_cast<int>(p)}, theirs[p].value)) found_[p] = theirs[p];
    }
  }

  void end_layer(results::Layer& layer, Arrays&) override {
    results::LayerInput& here = part(layer);
    for (const run::PointInfo& info : run::point_table()) {
      // What activations found is not looked for again.
      const bool known = info.point == Point::resid_out ||
                         (info.point == Point::down_in && !models::is_routed(config(), layer.layer));
      if (known && !here.activations(info.name)->top.empty()) {
        const results::Place& top = here.activations(info.name)->top.front();
        here.amax[info.name] = amax_of({.any = true,
                                        .value = top.value,
                                        .sequence = top.sequence,
                                        .token = top.token,
                                        .channel = top.channel});
      } else if (of(info.point).any) {
        here.amax[info.name] = amax_of(of(info.point));
      }
    }
  }
  void forget_layer() override {
    found_ = {};
    index_ = at::Tensor();
  }
  void finish(results::Results& results) const override {
    for (const run::PointInfo& info : run::point_table()) {
      const Found& found = found_[static_cast<size_t>(info.point)];
      if (found.any) results.inputs[input_number()].amax[info.name] = amax_of(found);
    }
  }

  Memory memory(const Load& load) const override {
    // What is not contiguous is copied; routes are kept.
    const models::Config& c = config();
    const auto e = static_cast<int64_t>(c10::elementSize(load.dtype));
    return {.moment = load.chunk *
                      (c.heads * c.head_width * e + c.experts.used * static_cast<int64_t>(sizeof(int64_t)))};
  }

 private:
  bool is_looked_at(Point point, int64_t layer) const {
    switch (point) {
      case Point::resid_in:
        return layer == 0;  // later it is the resid_out of the layer before
      case Point::attn_logits:
      case Point::attn_probs:  // none is above 1
      case Point::resid_out:
        return false;
      case Point::down_in:
        return false;
      case Point::logits:
        return input().is_prompt();
      default:
        return true;
    }
  }

  Found& of(Point point) { return found_[static_cast<size_t>(point)]; }
  bool is_larger(Point point, double value) {
    return !of(point).any || std::abs(value) > std::abs(of(point).value);
  }

  /// Where number `n` of x.flatten() stands, by the letters of the point's shape: "[B, H, T, d]".
  Found place(Point point, const at::Tensor& x, int64_t n) const {
    const run::PointInfo& info = run::point_table()[static_cast<size_t>(point)];
    Found found{.any = true};
    int64_t route = -1;
    std::string_view letters = info.shape;
    for (int64_t axis = x.dim() - 1; axis >= 0; --axis) {
      const int64_t number = n % x.size(axis);
      n /= x.size(axis);
      const size_t begin = letters.find_last_of(" [") + 1;
      const std::string_view letter = letters.substr(begin, letters.find_last_not_of("], ") + 1 - begin);
      letters = letters.substr(0, begin > 0 ? letters.find_last_not_of("[, ", begin - 1) + 1 : 0);
      if (letter == "B") {
        found.sequence = number;
      } else if (letter == "T") {
        found.token = number;
      } else if (letter == "H" || letter == "Hk") {
        found.head = number;
      } else if (letter == "k") {
        route = number;
      } else if (letter != "1") {
        found.channel = number;
      }
    }
    if (route >= 0) found.expert = index_[found.sequence][found.token][route].item<int64_t>();
    if (std::string_view(info.name).starts_with("shared.")) found.expert = run::kSharedExpert;
    return found;
  }

  std::array<Found, static_cast<size_t>(Point::logits) + 1> found_ = {};
  at::Tensor index_;  // of this slice's tokens, [b,T,k], on the host
};

}  // namespace

MeasureInfo headroom_measure() {
  return {.name = "headroom",
          .description = "the largest value of every point, against the largest numbers of number formats",
          .needs = {"activations"},
          .make = make<Headroom>};
}

}  // namespace outliers::measures
