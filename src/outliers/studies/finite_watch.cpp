#include "outliers/studies/finite_watch.h"

#include <cmath>

#include <ATen/ATen.h>

#include "outliers/core/bytes.h"
#include "outliers/studies/to_json.h"

namespace outliers::studies {
namespace {

using nlohmann::ordered_json;
using run::Point;

constexpr size_t kPrompt = 0;

bool all_finite(const at::Tensor& x) {
  // A sum is the quickest look. Only where it is not finite each value is asked: finite ones can overflow it.
  return std::isfinite(x.sum(at::kFloat).item<float>()) || at::isfinite(x).all().item<bool>();
}

/// The largest value of a layer's point, with its place; null where not all of them are finite.
ordered_json largest_of(const ordered_json& layers, int64_t layer, const char* point) {
  const ordered_json& of = layers[static_cast<size_t>(layer)];
  if (of["nonfinite"] != 0 || of["top"].empty()) return nullptr;
  ordered_json largest = {{"layer", layer}, {"point", point}};
  largest.update(of["top"][0]);
  return largest;
}

/// The nearest point before `first` at which all of its batch's values are finite.
ordered_json before(const FiniteWatch::First& first, const ordered_json& of_batch,
                    const ordered_json& embedding) {
  const int64_t layer = first.site.layer;
  ordered_json largest;
  if (first.site.point == Point::down_out || first.site.point == Point::resid_out)
    largest = largest_of(of_batch["down_in"], layer, "down_in");
  if (largest.is_null() && layer > 0) largest = largest_of(of_batch["resid_out"], layer - 1, "resid_out");
  if (largest.is_null() && layer == 0 && first.batch == kPrompt && first.site.point != Point::resid_in)
    largest = {{"layer", 0}, {"point", "resid_in"}, {"value", embedding["max"]}};
  return largest;
}

}  // namespace

bool FiniteWatch::wants(const run::Site& site, size_t) const {
  if (site.layer < 0 || (first_ && site.layer > first_->site.layer)) return false;
  switch (site.point) {
    case Point::resid_in:
      return site.layer == 0;  // later it is the resid_out of the layer before
    case Point::attn_out:
    case Point::resid_mid:
    case Point::experts_index:
    case Point::experts_down_in:
    case Point::shared_down_in:
    case Point::down_in:
    case Point::down_out:
    case Point::resid_out:
      return true;
    default:
      return false;
  }
}

void FiniteWatch::on_point(const run::Site& site, const run::Slice& slice, const at::Tensor& x) {
  switch (site.point) {
    case Point::experts_index:
      experts_ = x;
      return;
    case Point::experts_down_in:
    case Point::shared_down_in:
    case Point::down_in:
      inputs_.push_back({site.point, x});
      return;
    case Point::down_out:
      // What is not finite in a product's input is not finite in its output.
      if (!all_finite(x)) {
        for (const Input& input : inputs_) note({site.layer, input.point}, slice, input.x);
        note(site, slice, x);
      }
      inputs_.clear();
      experts_ = at::Tensor();
      return;
    default:
      note(site, slice, x);
  }
}

void FiniteWatch::note(const run::Site& site, const run::Slice& slice, const at::Tensor& x) {
  if (all_finite(x)) return;
  const at::Tensor values = x.contiguous();
  const int64_t place = at::isfinite(values).logical_not().to(at::kChar).argmax().item<int64_t>();
  const int64_t T = x.size(1), C = x.size(-1),
                routes = x.numel() / (x.size(0) * T * C);  // of experts k, else 1
  const int64_t token = place / C / routes, route = place / C % routes;
  First found{site,
              slice.input,
              slice.first_sequence + token / T + (slice.input == kPrompt ? 0 : first_sequence_),
              token % T,
              place % C,
              run::kNoExpert,
              values.flatten()[place].item<float>()};
  if (site.point == Point::experts_down_in)
    found.expert = experts_[token / T][token % T][route].item<int64_t>();
  if (site.point == Point::shared_down_in) found.expert = run::kSharedExpert;
  if (!first_ || found.order() < first_->order()) first_ = found;
}

void FiniteWatch::merge(Ranks& ranks) {
  ByteWriter mine;
  if (first_) mine.put(*first_);
  for (const std::string& bytes : ranks.gather(mine.bytes())) {
    if (bytes.empty()) continue;
    ByteReader in(bytes);
    const auto theirs = in.get<First>();
    if (!first_ || theirs.order() < first_->order()) first_ = theirs;
  }
}

ordered_json describe_first(const std::optional<FiniteWatch::First>& first, const ordered_json& activations,
                            const ordered_json& embedding, const std::vector<run::Input>& batches,
                            const TokenNames& names) {
  if (!first) return nullptr;
  const run::Input& batch = batches[first->batch];
  ordered_json described = ordered_json::array({{{"layer", first->site.layer},
                                                 {"point", run::point_name(first->site.point)},
                                                 {"value", std::isnan(first->value) ? "NaN"
                                                           : first->value > 0       ? "Inf"
                                                                                    : "-Inf"},
                                                 {"batch", batch.name},
                                                 {"sequence", first->sequence},
                                                 {"token", first->token},
                                                 {"channel", first->channel}}});
  if (first->expert != run::kNoExpert) described[0]["expert"] = expert_name(first->expert);
  name_tokens(described, batch.ids, names);
  ordered_json largest = ordered_json::array({before(*first, activations[batch.name], embedding)});
  if (largest[0].contains("token")) name_tokens(largest, batch.ids, names);
  described[0]["before"] = std::move(largest[0]);
  return std::move(described[0]);
}

}  // namespace outliers::studies
