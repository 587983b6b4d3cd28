#include "outliers/report/whole.h"

namespace outliers::report {
namespace {

void empty(results::Activations& x) {
  x.max = x.median = x.mean = x.kurtosis_pearson = x.infinity_norm = results::kNone;
  x.top3_mean.clear();
  x.top.clear();
  x.top_channels.clear();
  x.massive.clear();
  x.massive_tokens.clear();
}

void empty(results::Attention& x) {
  x.median = results::kNone;
  x.top3_mean.clear();
  x.top_keys.clear();
  x.outlier_keys.clear();
  for (results::Head& head : x.heads) head.outlier_share = head.sink_rate = results::kNone;
}

template <typename T>
bool is_whole(const std::optional<T>& part) {
  return !part || part->nonfinite == 0;
}

template <typename T>
void empty_if_not_whole(std::optional<T>& part) {
  if (!is_whole(part)) empty(*part);
}

}  // namespace

bool has_nonfinite(const results::Results& r) {
  for (const results::Layer& layer : r.layers) {
    for (const auto& [name, input] : layer.inputs) {
      if (!is_whole(input.resid_out) || !is_whole(input.down_in) || !is_whole(input.attention)) return true;
    }
  }
  return false;
}

results::Results whole_layers(results::Results r) {
  for (results::Layer& layer : r.layers) {
    for (auto& [name, input] : layer.inputs) {
      empty_if_not_whole(input.resid_out);
      empty_if_not_whole(input.down_in);
      empty_if_not_whole(input.attention);
      if (layer.layer < r.told_layers()) continue;
      input.values = {};
      if (!input.norms) continue;
      input.norms->cls = {};
      input.norms->patches.median = input.norms->patches.max = results::kNone;
      if (input.norms->registers)
        input.norms->registers->median = input.norms->registers->max = results::kNone;
    }
  }
  return r;
}

}  // namespace outliers::report
