#include "outliers/run/edited_weights.h"

#include <algorithm>
#include <string>

#include <ATen/ATen.h>

#include "outliers/run/edit_entries.h"

namespace outliers::run {

namespace {

const std::string& module_of(const Edit& edit) {
  return std::get<WeightSite>(edit.site).module;
}

int64_t layer_of(const Edit& edit) {
  return std::get<WeightSite>(edit.site).layer;
}

bool is_of_mlp(const std::string& module) {
  return module == "gate" || module == "up" || module == "down";
}

/// Whether an edit of gate, up or down is of this MLP. expert: as in LayerWeight.
bool concerns(const models::Config& c, const Edit& edit, int64_t expert) {
  if (!is_of_mlp(module_of(edit))) return false;
  if (!is_routed(c, layer_of(edit))) return expert == kNoExpert;
  const Choice* choice = edit.selection.find(Axis::expert);
  if (expert == kSharedExpert) return choice != nullptr && choice->shared;
  if (choice == nullptr) return true;
  const int64_t E = c.experts.count;
  return std::any_of(choice->spans.begin(), choice->spans.end(), [&](const Span& span) {
    const auto counted = [&](int64_t number) { return number < 0 ? E + number : number; };
    return counted(span.first) <= expert && expert <= counted(span.last);
  });
}

/// Whether it was.
bool edit_mlp(const models::Config& c, Mlp& mlp, const std::vector<const Edit*>& edits, int64_t expert) {
  bool any = false;
  for (const Edit* edit : edits) {
    if (!concerns(c, *edit, expert)) continue;
    at::Tensor& matrix = module_of(*edit) == "gate" ? mlp.gate : module_of(*edit) == "up" ? mlp.up : mlp.down;
    matrix = edited_matrix(*edit, matrix, expert);
    any = true;
  }
  return any;
}

}  // namespace

LayerWeights edited_weights(const models::Config& c, LayerWeights w, const std::vector<const Edit*>& edits) {
  const int64_t queries = c.heads * c.head_width, keys = c.kv_heads * c.head_width;
  bool own_qkv = false;
  for (const Edit* edit : edits) {
    const std::string& module = module_of(*edit);
    if (module == "q" || module == "k" || module == "v") {
      if (!own_qkv) w.qkv = w.qkv.clone();
      own_qkv = true;
      const int64_t begin = module == "q" ? 0 : module == "k" ? queries : queries + keys;
      const at::Tensor rows = w.qkv.narrow(0, begin, module == "q" ? queries : keys);
      rows.copy_(edited_matrix(*edit, rows, kNoExpert));
    } else if (module == "o") {
      w.o = edited_matrix(*edit, w.o, kNoExpert);
    } else if (module == "router") {
      w.router = edited_matrix(*edit, w.router, kNoExpert);
    }
  }
  if (!edits.empty())
    edit_mlp(c, w.mlp, edits, is_routed(c, layer_of(*edits.front())) ? kSharedExpert : kNoExpert);
  return w;
}

bool edits_experts(const models::Config& c, const std::vector<const Edit*>& edits) {
  return std::any_of(edits.begin(), edits.end(), [&](const Edit* edit) {
    const Choice* choice = edit->selection.find(Axis::expert);
    return is_of_mlp(module_of(*edit)) && is_routed(c, layer_of(*edit)) &&
           (choice == nullptr || !choice->spans.empty());
  });
}

const Mlp& EditedExperts::operator[](int64_t expert) {
  if (const auto known = edited_.find(expert); known != edited_.end()) return known->second;
  const Mlp& own = own_[expert];
  Mlp mlp = own;
  return edit_mlp(config_, mlp, edits_, expert) ? edited_.emplace(expert, std::move(mlp)).first->second : own;
}

int64_t edited_weight_bytes(const models::Config& c, const std::vector<const Edit*>& edits,
                            int64_t element_bytes, int64_t chosen) {
  const int64_t D = c.width, d = c.head_width;
  int64_t kept = 0, moment = 0;
  bool qkv = false;
  std::vector<std::string> counted;
  for (const Edit* edit : edits) {
    const std::string& module = module_of(*edit);
    const bool routed = is_routed(c, layer_of(*edit));
    const Choice* choice = edit->selection.find(Axis::expert);
    int64_t matrix = 0, copies = 1;
    if (module == "q" || module == "k" || module == "v") {
      matrix = (c.heads + 2 * c.kv_heads) * d * D;
      copies = qkv ? 0 : 1;
      qkv = true;
    } else if (module == "o") {
      matrix = c.heads * d * D;
    } else if (module == "router") {
      matrix = c.experts.count * D;
    } else {
      const bool shared = choice != nullptr && choice->shared;
      matrix = (routed ? std::max(c.experts.width, shared ? c.experts.shared_width : 0) : c.mlp_width) * D;
      copies = routed ? chosen + (shared ? 1 : 0) : 1;
    }
    kept += matrix * copies * element_bytes;
    // Masks, the changed values; of top=K sizes and their order; of means and medians wide copies.
    const bool wide = edit->needs_statistics();
    moment = std::max(moment, matrix * (2 * element_bytes + 3 + (wide ? 2 * element_bytes + 40 : 8)));
  }
  return kept + moment;
}

}  // namespace outliers::run
