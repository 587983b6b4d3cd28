#include "outliers/run/points.h"

#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "outliers/core/suggest.h"
#include "outliers/core/table.h"
#include "outliers/models/weights.h"
#include "outliers/run/error.h"

namespace outliers::run {

const std::vector<PointInfo>& point_table() {
  static const std::vector<PointInfo> table = {
      {Point::resid_in, "resid_in", true, "[B, T, D]", "residual stream that enters the layer"},
      {Point::attn_norm_out, "attn_norm_out", true, "[B, T, D]",
       "normalised residual, read by the q, k and v projections"},
      {Point::query, "query", true, "[B, H, T, d]", "queries after bias and QK-norm, before rotary"},
      {Point::key, "key", true, "[B, Hk, T, d]", "keys after bias and QK-norm, before rotary"},
      {Point::value, "value", true, "[B, Hk, T, d]", "values after bias"},
      {Point::attn_logits, "attn_logits", true, "[B, H, T, T]",
       "scores after scale, soft-cap and mask; float32, masked entries -inf"},
      {Point::attn_probs, "attn_probs", true, "[B, H, T, T]", "softmax of the scores; float32"},
      {Point::o_in, "o_in", true, "[B, H, T, d]",
       "values as each head's probabilities mix them, read by the attention's projection"},
      {Point::attn_out, "attn_out", true, "[B, T, D]",
       "output of the attention's projection, before any post-norm"},
      {Point::attn_added, "attn_added", true, "[B, T, D]",
       "what is added to the residual stream: attn_out after any post-norm and LayerScale"},
      {Point::resid_mid, "resid_mid", true, "[B, T, D]",
       "residual stream after the attention's output is added"},
      {Point::mlp_norm_out, "mlp_norm_out", true, "[B, T, D]",
       "normalised residual, read by the gate and up projections"},
      {Point::router_logits, "router_logits", true, "[B, T, E]", "the router's score of every expert"},
      {Point::experts_index, "experts.index", true, "[B, T, k]",
       "the experts that the token passes, those of the largest router_logits, in their order; int64"},
      {Point::experts_weight, "experts.weight", true, "[B, T, k]", "what each one's output is multiplied by"},
      {Point::experts_gate_out, "experts.gate_out", true, "[B, T, k, Fe]",
       "output of their gate projections"},
      {Point::experts_act_out, "experts.act_out", true, "[B, T, k, Fe]",
       "activation function of experts.gate_out"},
      {Point::experts_up_out, "experts.up_out", true, "[B, T, k, Fe]", "output of their up projections"},
      {Point::experts_down_in, "experts.down_in", true, "[B, T, k, Fe]",
       "what their down projections read: experts.act_out * experts.up_out"},
      {Point::experts_down_out, "experts.down_out", true, "[B, T, k, D]",
       "output of their down projections, before experts.weight"},
      {Point::shared_weight, "shared.weight", true, "[B, T, 1]",
       "what the shared expert's output is multiplied by"},
      {Point::shared_gate_out, "shared.gate_out", true, "[B, T, Fs]",
       "output of the shared expert's gate projection"},
      {Point::shared_act_out, "shared.act_out", true, "[B, T, Fs]", "activation function of shared.gate_out"},
      {Point::shared_up_out, "shared.up_out", true, "[B, T, Fs]",
       "output of the shared expert's up projection"},
      {Point::shared_down_in, "shared.down_in", true, "[B, T, Fs]",
       "what the shared expert's down projection reads"},
      {Point::shared_down_out, "shared.down_out", true, "[B, T, D]",
       "output of the shared expert's down projection, before shared.weight"},
      {Point::gate_out, "gate_out", true, "[B, T, F]", "output of the gate projection"},
      {Point::act_out, "act_out", true, "[B, T, F]",
       "activation function of gate_out, or of up_out without a gate"},
      {Point::up_out, "up_out", true, "[B, T, F]", "output of the up projection"},
      {Point::down_in, "down_in", true, "[B, T, F]",
       "act_out * up_out (act_out without a gate), read by the down projection"},
      {Point::down_out, "down_out", true, "[B, T, D]",
       "output of the MLP: of the down projection, or the weighted sum of the experts'; before any "
       "post-norm"},
      {Point::mlp_added, "mlp_added", true, "[B, T, D]",
       "what is added to the residual stream: down_out after any post-norm and LayerScale"},
      {Point::resid_out, "resid_out", true, "[B, T, D]", "residual stream after the MLP's output is added"},
      {Point::final_norm_out, "final_norm_out", false, "[B, T, D]", "normalised output of the last layer"},
      {Point::logits, "logits", false, "[B, T, V]", "scores of the next token, after any soft-cap"},
  };
  return table;
}

const char* point_name(Point point) {
  return point_table()[static_cast<size_t>(point)].name;
}

bool has_point(const models::Config& config, Site site) {
  const bool routed = site.layer >= 0 && is_routed(config, site.layer);
  switch (site.point) {
    case Point::gate_out:
      return !routed && config.gated_mlp;
    case Point::act_out:
    case Point::up_out:
    case Point::down_in:
      return !routed;
    case Point::router_logits:
    case Point::experts_index:
    case Point::experts_weight:
    case Point::experts_gate_out:
    case Point::experts_act_out:
    case Point::experts_up_out:
    case Point::experts_down_in:
    case Point::experts_down_out:
      return routed;
    case Point::shared_weight:
    case Point::shared_gate_out:
    case Point::shared_act_out:
    case Point::shared_up_out:
    case Point::shared_down_in:
    case Point::shared_down_out:
      return routed && config.experts.shared_width > 0;
    case Point::logits:
      return has_head(config);
    default:
      return true;
  }
}

bool has_anywhere(const models::Config& config, Point point) {
  if (!point_table()[static_cast<size_t>(point)].per_layer) return has_point(config, {-1, point});
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    if (has_point(config, {layer, point})) return true;
  }
  return false;
}

std::string site_name(Site site) {
  if (site.layer < 0) return point_name(site.point);
  return fmt::format("layer.{}.{}", site.layer, point_name(site.point));
}

SiteName split_site_name(const std::string& name) {
  constexpr std::string_view kPrefix = "layer.";
  if (name.rfind(kPrefix, 0) != 0) return {"", name};
  size_t dot = name.find('.', kPrefix.size());
  // The dots of a range, 2..5, are part of the layers.
  while (dot != std::string::npos && dot + 1 < name.size() && name[dot + 1] == '.') {
    dot = name.find('.', dot + 2);
  }
  if (dot == std::string::npos) return {"", ""};
  return {name.substr(kPrefix.size(), dot - kPrefix.size()), name.substr(dot + 1)};
}

namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end = 0; end != std::string::npos; begin = end + 1) {
    end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end == std::string::npos ? end : end - begin));
  }
  return parts;
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\n") + 1 - begin);
}

/// Shell-like match in which * stands for any run of characters.
bool glob_match(const char* pattern, const char* text) {
  if (*pattern == '*')
    return glob_match(pattern + 1, text) || (*text != '\0' && glob_match(pattern, text + 1));
  if (*pattern != *text) return false;
  return *pattern == '\0' || glob_match(pattern + 1, text + 1);
}

int64_t parse_layer(const std::string& text, int64_t layers, const std::string& item) {
  int64_t layer = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layer);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail("'{}' in point '{}' is no layer: write a number, a range like 2..5, or *", printable(text),
         printable(item));
  }
  const int64_t counted = layer < 0 ? layers + layer : layer;
  require(counted >= 0 && counted < layers, "layer {} of point '{}' is outside the model's layers 0 to {}",
          layer, printable(item), layers - 1);
  return counted;
}

}  // namespace

LayerRange parse_layers(const std::string& text, int64_t layers, const std::string& item) {
  if (text == "*") return {0, layers - 1};
  const size_t dots = text.find("..");
  if (dots == std::string::npos) {
    const int64_t layer = parse_layer(text, layers, item);
    return {layer, layer};
  }
  const LayerRange range{parse_layer(text.substr(0, dots), layers, item),
                         parse_layer(text.substr(dots + 2), layers, item)};
  require(range.first <= range.last, "the layers of point '{}' run backwards", printable(item));
  return range;
}

namespace {

std::vector<Point> matching_points(const std::string& name, bool per_layer) {
  std::vector<Point> points;
  for (const PointInfo& info : point_table()) {
    if (info.per_layer == per_layer && glob_match(name.c_str(), info.name)) points.push_back(info.point);
  }
  return points;
}

/// Says what was meant: the same point written with or without its layer, or the nearest name.
[[noreturn]] void fail_unknown_point(const std::string& item, const std::string& name, bool per_layer) {
  if (!matching_points(name, !per_layer).empty()) {
    fail("point '{}' is {}; write '{}'", printable(item), per_layer ? "not of a layer" : "of a layer",
         printable(per_layer ? name : "layer.*." + name));
  }
  const size_t dot = per_layer ? item.size() - name.size() - 1 : item.rfind('.');
  // A slip of "layer" itself leaves the name after the dot to go by.
  const bool layered = dot != std::string::npos;
  const std::string prefix = per_layer ? item.substr(0, dot + 1) : "layer.N.";
  std::vector<std::string> known, shown;
  for (const bool of_layer : {false, true}) {
    for (const PointInfo& info : point_table()) {
      if (info.per_layer != of_layer) continue;
      shown.push_back((of_layer ? "layer.N." : "") + std::string(info.name));
      if (of_layer || !layered) known.push_back(info.name);
    }
  }
  const std::string close = nearest(layered ? item.substr(dot + 1) : item, known);
  if (!close.empty()) {
    const bool plain = !layered && !matching_points(close, false).empty();
    fail("unknown point '{}'; did you mean '{}{}'?", printable(item), plain ? "" : printable(prefix), close);
  }
  fail("unknown point '{}'; known: {}", printable(item), fmt::join(shown, ", "));
}

void parse_item(const std::string& item, const models::Config& config, std::set<Site>& sites) {
  const auto& [layers, name] = split_site_name(item);
  if (layers.empty() && !name.empty()) {
    const std::vector<Point> points = matching_points(item, false);
    if (points.empty()) fail_unknown_point(item, item, false);
    for (Point point : points) {
      if (has_point(config, {-1, point})) {
        sites.insert({-1, point});
      } else {
        require(points.size() > 1, "there is no point '{}': {}", printable(item),
                reads_images(config)
                    ? "this model has no vocabulary"
                    : fmt::format("the checkpoint has no head ('{}'), as models of embeddings "
                                  "have none, and config.json does not tie it to the embedding",
                                  printable(config.missing_head)));
      }
    }
    return;
  }
  require(!layers.empty(), "point '{}' lacks its name: write layer.N.NAME, as in layer.3.down_in",
          printable(item));
  const std::vector<Point> points = matching_points(name, true);
  if (points.empty()) fail_unknown_point(item, name, true);
  const LayerRange range = parse_layers(layers, config.layers, item);
  bool any = false, any_routed = false;
  for (int64_t layer = range.first; layer <= range.last; ++layer) {
    any_routed = any_routed || is_routed(config, layer);
    for (Point point : points) {
      if (!has_point(config, {layer, point})) continue;
      sites.insert({layer, point});
      any = true;
    }
  }
  if (any) return;
  if (name.starts_with("shared.") && any_routed) {
    fail("there is no point '{}': this model has no shared expert", printable(item));
  }
  if (points.front() < Point::gate_out) {
    fail("there is no point '{}': the MLP there is not of experts", printable(item));
  }
  fail("there is no point '{}': the MLP there {}", printable(item),
       any_routed ? "is of experts; write experts." + name + " for theirs" : "has no gate");
}

}  // namespace

std::vector<Site> parse_sites(const std::string& text, const models::Config& config) {
  std::set<Site> sites;
  for (const std::string& part : split(text, ',')) {
    const std::string item = trimmed(part);
    require(!item.empty(), "the list of points '{}' has an empty item", printable(text));
    parse_item(item, config, sites);
  }
  // The model's own points come after the layers, as they are computed.
  std::vector<Site> ordered(sites.begin(), sites.end());
  std::stable_partition(ordered.begin(), ordered.end(), [](const Site& site) { return site.layer >= 0; });
  return ordered;
}

std::string points_text(const models::Config& config, size_t width) {
  std::vector<std::vector<std::string>> rows;
  for (const PointInfo& info : point_table()) {
    if (!has_anywhere(config, info.point)) continue;
    std::string sizes;
    constexpr int64_t kB = -1, kT = -2;
    for (const int64_t size : models::resolve_shape(info.shape, config, kB, kT)) {
      const std::string text = size == kB ? "B" : size == kT ? "T" : fmt::format("{}", size);
      sizes += fmt::format("{}{}", sizes.empty() ? "" : " x ", text);
    }
    const std::string name = info.per_layer ? fmt::format("layer.*.{}", info.name) : info.name;
    rows.push_back({name, info.shape, sizes, info.description});
  }
  return table({"point", "shape", "here", "what"}, rows, width);
}

}  // namespace outliers::run
