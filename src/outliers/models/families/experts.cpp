// The rows that all mixtures of experts share. GGUF stacks experts; its files of early 2024 and before have
// them apart.
#include <string_view>

#include "outliers/models/families/table.h"

namespace outliers::models {

std::vector<WeightRow> with_experts(std::vector<WeightRow> rows, const ExpertNames& names, Condition bias,
                                    Transform stacked) {
  for (WeightRow& row : rows) {
    const std::string_view ours = row.ours;
    if (ours == "layer.*.gate" || ours == "layer.*.up" || ours == "layer.*.down") row.layers = Layers::dense;
  }
  constexpr Condition kApart = [](const Config& c) { return !c.storage.stacked_experts; };
  constexpr Condition kStacked = [](const Config& c) { return c.storage.stacked_experts; };
  constexpr Condition kUnfused = [](const Config& c) {
    return c.storage.stacked_experts && !c.storage.fused_experts;
  };
  constexpr Condition kFused = [](const Config& c) { return c.storage.fused_experts; };
  // clang-format off
  const WeightRow added[] = {
      {"layer.*.router", names.router, "blk.*.ffn_gate_inp", "[E, D]", bias, kApart},
      {"layer.*.router", names.stacked_router, "blk.*.ffn_gate_inp", "[E, D]", bias, kStacked},
      {"layer.*.experts.gate", names.gate, "blk.*.ffn_gate.#", "[E, Fe, D]", bias, kApart},
      {"layer.*.experts.up", names.up, "blk.*.ffn_up.#", "[E, Fe, D]", bias, kApart},
      {"layer.*.experts.down", names.down, "blk.*.ffn_down.#", "[E, D, Fe]", bias, kApart},
      {"layer.*.experts.gate", nullptr, "blk.*.ffn_gate_exps", "[E, Fe, D]", bias, kUnfused},
      {"layer.*.experts.up", nullptr, "blk.*.ffn_up_exps", "[E, Fe, D]", bias, kUnfused},
      hugging_face(stacked, {"layer.*.experts.gate_up", names.gate_up, nullptr, "[E, 2*Fe, D]", bias, kFused}),
      hugging_face(stacked, {"layer.*.experts.down", names.stacked_down, "blk.*.ffn_down_exps", "[E, D, Fe]", bias, kStacked}),
  };
  // clang-format on
  for (WeightRow row : added) {
    row.layers = Layers::routed;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace outliers::models
