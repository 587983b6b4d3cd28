// The named places of a forward pass. Capture and statistics use this one table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "outliers/core/export.h"
#include "outliers/models/config.h"

namespace outliers::run {

/// Points of one layer in the order they are computed, then the model's own.
/// query, key: after QK-norm, before rotary; value: before anything; attn_out, down_out: after the
/// projection, before any post-norm; resid_mid, resid_out: after the addition; attn_norm_out, mlp_norm_out:
/// what the projections read. Where a layer's MLP is of experts, down_out is the weighted sum of their
/// outputs. Where the residual itself is normed after an addition (OPT 350M), resid_mid and resid_out are
/// what the norm gives. A parallel block's resid_mid is the sum of its input and attn_added. attn_out and
/// down_out are before LayerScale too; attn_added and mlp_added are after it and after post-norms, and equal
/// them where a model has neither.
enum class Point {
  resid_in,
  attn_norm_out,
  query,
  key,
  value,
  attn_logits,
  attn_probs,
  o_in,
  attn_out,
  attn_added,
  resid_mid,
  mlp_norm_out,
  router_logits,
  experts_index,
  experts_weight,
  experts_gate_out,
  experts_act_out,
  experts_up_out,
  experts_down_in,
  experts_down_out,
  shared_weight,
  shared_gate_out,
  shared_act_out,
  shared_up_out,
  shared_down_in,
  shared_down_out,
  gate_out,
  act_out,
  up_out,
  down_in,
  down_out,
  mlp_added,
  resid_out,
  final_norm_out,
  logits,  // not of a layer: named without "layer.N."
};

struct PointInfo {
  Point point;
  const char* name;
  bool per_layer;
  const char* shape;        ///< symbolic: "[B, T, D]"
  const char* description;  ///< one line
};

/// The table, in order.
OUTLIERS_API const std::vector<PointInfo>& point_table();
OUTLIERS_API const char* point_name(Point point);

/// One place: layer.3.down_in, or final_norm_out (layer -1).
struct Site {
  int64_t layer;
  Point point;
  bool operator==(const Site&) const = default;
  bool operator<(const Site& o) const { return layer != o.layer ? layer < o.layer : point < o.point; }
};
OUTLIERS_API std::string site_name(Site site);
/// "layer.3.experts.index" -> the point's name and its layer's ("3", "*", "2..5"), which is empty where it is
/// of no layer.
struct SiteName {
  std::string layers, point;
};
OUTLIERS_API SiteName split_site_name(const std::string& name);
/// The points of one MLP: a layer's own, the one that all tokens share, or those of a token's experts.
struct MlpPoints {
  Point gate_out, act_out, up_out, down_in;
};
inline constexpr MlpPoints kOwnMlp = {Point::gate_out, Point::act_out, Point::up_out, Point::down_in},
                           kSharedMlp = {Point::shared_gate_out, Point::shared_act_out, Point::shared_up_out,
                                         Point::shared_down_in},
                           kExpertMlp = {Point::experts_gate_out, Point::experts_act_out,
                                         Point::experts_up_out, Point::experts_down_in};

/// Where in the run a tensor belongs: sequences [first_sequence, first_sequence + x.size(0)) of
/// inputs[input].
struct Slice {
  size_t input;
  int64_t first_sequence;
};

/// Whether the layer has the point: an MLP without a gate has no gate_out, one of experts no down_in of its
/// own.
OUTLIERS_API bool has_point(const models::Config& config, Site site);
/// Whether any layer, or the model itself, has it.
OUTLIERS_API bool has_anywhere(const models::Config& config, Point point);

/// All points that the model has, a row each: name, shape, its sizes here (B and T are the input's), and what
/// it is. `width`: the table's columns at most, 0 any number.
OUTLIERS_API std::string points_text(const models::Config& config, size_t width);

/// Layers as a site names them, both ends included: "3", "-1", "2..5", "*". `item` is named in errors.
struct LayerRange {
  int64_t first, last;
};
LayerRange parse_layers(const std::string& text, int64_t layers, const std::string& item);

/// Parses "layer.*.resid_out,layer.3.down_in,logits" against a model's layers and points: each item may use *
/// (any layer), a..b ranges with both ends included (layer.2..5.down_in) and negative layers
/// (layer.-1.resid_out). Names may hold * too (layer.0.*, layer.3.down_*). Each site once, in the order of
/// computation. Unknown names and layers throw, with the nearest known name.
OUTLIERS_API std::vector<Site> parse_sites(const std::string& text, const models::Config& config);

}  // namespace outliers::run
