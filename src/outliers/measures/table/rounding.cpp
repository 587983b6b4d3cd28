// What number formats lose of the inputs of the linear layers.
#include <algorithm>
#include <map>

#include "outliers/measures/measure.h"
#include "outliers/measures/rounding_errors.h"

namespace outliers::measures {
namespace {

using run::Point;

/// What linear layers read: q, k and v; o; gate and up, and a router; down.
constexpr PointSet kInputs = {Point::attn_norm_out,   Point::o_in,           Point::mlp_norm_out,
                              Point::experts_down_in, Point::shared_down_in, Point::down_in};

class Rounding : public Measure {
 public:
  using Measure::Measure;

  Wants wants(int64_t) const override { return {.points = kInputs}; }
  void add(const run::Site& site, const at::Tensor& x, int64_t) override {
    // Its heads lie side by side for the projection.
    const at::Tensor read = site.point == Point::o_in ? x.transpose(1, 2).flatten(2) : x;
    const int64_t K = read.size(-1), rows = read.numel() / read.size(0) / K;  // of a sequence
    RoundingErrors& errors = errors_.try_emplace(site.point, input().ids.size(0) * rows, K).first->second;
    for (int64_t b = 0; b < read.size(0); ++b) errors.add(read[b].reshape({rows, K}));
  }
  void save(ByteWriter& out) const override {
    out.put(errors_.size());
    for (const auto& [point, errors] : errors_) {
      out.put(point);
      errors.save(out);
    }
  }
  void merge(ByteReader& in) override {
    for (auto count = in.get<size_t>(); count > 0; --count) {
      const auto point = in.get<Point>();
      const RoundingErrors theirs = RoundingErrors::load(in);
      errors_.at(point).merge(theirs);
    }
  }
  void end_layer(results::Layer& layer, Arrays&) override {
    for (const auto& [point, errors] : errors_)
      part(layer).rounding[run::point_name(point)] = errors.finish();
  }
  void forget_layer() override { errors_.clear(); }

  Memory memory(const Load& load) const override {
    const models::Config& c = config();
    const int64_t routes = std::max<int64_t>(c.experts.used, 1), F = models::widest_mlp(c);
    const int64_t all = input().ids.numel(), d = c.heads * c.head_width;
    Memory memory;
    for (const int64_t K : {c.width, d, c.width, F, F})
      memory.held += RoundingErrors::held_bytes(load.sequences, all * routes, K);
    memory.moment = RoundingErrors::moment_bytes(load.tokens * routes, std::max({c.width, F, d}));
    memory.moment += load.chunk * d * static_cast<int64_t>(c10::elementSize(load.dtype));
    return memory;
  }

 private:
  std::map<Point, RoundingErrors> errors_;
};

}  // namespace

MeasureInfo rounding_measure() {
  return {.name = "rounding",
          .description = "what number formats lose of the inputs of the linear layers",
          .source = "arXiv 2602.02047",
          .on_request = "once to twice the time of a report by default",
          .make = make<Rounding>};
}

}  // namespace outliers::measures
