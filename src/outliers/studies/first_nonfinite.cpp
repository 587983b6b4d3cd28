#include "outliers/studies/first_nonfinite.h"

#include <cmath>

namespace outliers::studies {
namespace {

using run::Point;

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

results::FirstNonfinite describe_first(const run::FiniteWatch::First& first,
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

std::optional<results::Before> largest_before(const run::FiniteWatch::First& first,
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
