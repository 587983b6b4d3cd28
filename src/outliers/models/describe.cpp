#include "outliers/models/describe.h"

#include <algorithm>

#include "outliers/core/error.h"

namespace outliers::models {

results::Model describe(const Model& model) {
  const Config& c = model.config();
  results::Model described;
  described.name = printable(c.name);
  described.family = c.family;
  described.format = io::format_name(model.checkpoint().format());
  described.layers = c.layers;
  described.width = c.width;
  described.heads = c.heads;
  described.kv_heads = c.kv_heads;
  described.head_width = c.head_width;
  described.mlp_width = widest_mlp(c);
  described.vocabulary = c.vocabulary;
  described.positions = c.max_positions;
  described.parameters = model.parameters();
  described.weight_bytes = static_cast<int64_t>(model.checkpoint().weight_bytes());
  if (reads_images(c)) {
    const Vision& v = c.vision;
    described.vision = {v.image_height, v.image_width, v.patch_height, v.patch_width, v.registers};
  }
  if (c.experts.count > 0) {
    described.experts = {c.experts.count, c.experts.used, c.experts.width, c.experts.shared_width,
                         std::count(c.routed.begin(), c.routed.end(), true)};
  }
  return described;
}

}  // namespace outliers::models
