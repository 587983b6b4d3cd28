#include "outliers/studies/finite_watch.h"

#include <cmath>

#include <ATen/ATen.h>

#include "outliers/core/bytes.h"

namespace outliers::studies {
namespace {

using run::Point;

bool all_finite(const at::Tensor& x) {
  // A sum is the quickest look. Only where it is not finite each value is asked: finite ones can overflow it.
  return std::isfinite(x.sum(at::kFloat).item<float>()) || at::isfinite(x).all().item<bool>();
}

/// The largest value of a layer's point, with its place; nothing where not all of them are finite.
std::optional<results::Before> largest_of(const results::Results& results, const std::string& input,
                                          int64_t layer, const char* point) {
  const results::LayerInput& here = *results.layers[static_cast<size_t>(layer)].inputs.find(input);
  const results::Activations* of = here.activations(point);
  if (of == nullptr || of->nonfinite != 0 || of->top.empty()) return std::nullopt;
  const results::Place& top = of->top[0];
  return results::Before{layer, point, top.value, top.sequence, top.token, top.channel, top.expert, {}, {}};
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
      read_.push_back({site.point, x});
      return;
    case Point::down_out:
      // What is not finite in a product's input is not finite in its output.
      if (!all_finite(x)) {
        for (const Read& read : read_) note({site.layer, read.point}, slice, read.x);
        note(site, slice, x);
      }
      read_.clear();
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
              inputs_[slice.input].first_sequence + slice.first_sequence + token / T,
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

results::FirstNonfinite describe_first(const FiniteWatch::First& first,
                                       const std::vector<measures::Input>& inputs,
                                       const measures::TokenNames& names) {
  const measures::Input& input = inputs[first.input];
  const measures::TokenNames::Name name = names.name(input.ids, first.sequence, first.token);
  results::FirstNonfinite described;
  described.layer = first.site.layer;
  described.point = run::point_name(first.site.point);
  described.value = std::isnan(first.value) ? "NaN" : first.value > 0 ? "Inf" : "-Inf";
  described.input = input.name;
  described.sequence = first.sequence;
  described.token = first.token;
  described.channel = first.channel;
  if (first.expert != run::kNoExpert) described.expert = results::Expert{first.expert};
  described.token_text = name.text;
  described.token_class = name.kind;
  return described;
}

std::optional<results::Before> largest_before(const FiniteWatch::First& first,
                                              const results::Results& results,
                                              const std::vector<measures::Input>& inputs,
                                              const measures::TokenNames& names) {
  const results::Input& input = results.inputs[first.input];
  const auto [layer, point] = first.site;
  std::optional<results::Before> largest;
  if (point == Point::down_out || point == Point::resid_out)
    largest = largest_of(results, input.name, layer, "down_in");
  if (!largest && layer > 0) largest = largest_of(results, input.name, layer - 1, "resid_out");
  if (!largest && layer == 0 && input.embedding && point != Point::resid_in)
    largest = results::Before{0, "resid_in", input.embedding->max, {}, {}, {}, {}, {}, {}};
  if (largest && largest->token) {
    const measures::TokenNames::Name name =
        names.name(inputs[first.input].ids, *largest->sequence, *largest->token);
    largest->token_text = name.text;
    largest->token_class = name.kind;
  }
  return largest;
}

}  // namespace outliers::studies
