#include "outliers/run/branches.h"

#include <algorithm>
#include <set>

#include <ATen/ATen.h>

#include "outliers/core/shape.h"
#include "outliers/run/error.h"

namespace outliers::run {

Branches::Branches(const std::vector<Input>& inputs, const models::Config& config)
    : inputs_(inputs), config_(config) {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    Input& input = inputs_[i];
    if (input.parent) {
      require(*input.parent < i, "the parent of branch '{}' should be an earlier input", input.name);
      const Input& parent = inputs_[*input.parent];
      require(!parent.parent && parent.edits.empty(),
              "the parent of branch '{}' should be neither a branch nor edited; give the branch all edits",
              input.name);
      input.ids = parent.ids;
      input.pixels = parent.pixels;
      input.classes = parent.classes;
      input.part_begin = parent.part_begin;
    }
    int64_t fork = input.parent ? kNever : 0;
    for (const Edit& edit : input.edits)
      fork = std::min(fork, edit.layer() < 0 ? config.layers : edit.layer());
    forks_.push_back(fork);
    if (input.edits.empty() || input.ids.dim() != 2) continue;
    check_edits(input.edits, config, input.ids.size(1));
    if (!name_classes(input.edits)) continue;
    require(input.classes.defined(),
            "edits of input '{}' name classes of tokens, which the input does not have", input.name);
    check_shape(input.classes, "run", "classes", {input.ids.size(0), input.ids.size(1)});
  }
}

bool Branches::any() const {
  return std::any_of(inputs_.begin(), inputs_.end(),
                     [](const Input& input) { return input.parent.has_value() || !input.edits.empty(); });
}

std::vector<size_t> Branches::forking(size_t input, int64_t layer) const {
  std::vector<size_t> branches;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].parent == input && forks_[i] == layer) branches.push_back(i);
  }
  return branches;
}

Tap Branches::tap(const std::vector<Observer*>& observers, int64_t layer, size_t input,
                  Stopwatch& watch) const {
  Tap tap(observers, layer, input, watch);
  const int64_t now = layer < 0 ? config_.layers : layer;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].parent != input || forks_[i] <= now) continue;
    for (Observer* observer : observers) tap.add(*observer, i);
  }
  return tap;
}

LayerEdits Branches::point_edits(size_t input, int64_t layer) const {
  std::map<Point, std::vector<const Edit*>> by_point;
  for (const Edit& edit : inputs_[input].edits) {
    const auto* site = std::get_if<Site>(&edit.site);
    if (site != nullptr && site->layer == layer) by_point[site->point].push_back(&edit);
  }
  LayerEdits edits;
  for (auto& [point, list] : by_point) {
    edits.try_emplace(point, std::move(list), inputs_[input], Site{layer, point}, config_.experts.count);
  }
  return edits;
}

std::vector<const Edit*> Branches::weight_edits(size_t input, int64_t layer) const {
  std::vector<const Edit*> edits;
  for (const Edit& edit : inputs_[input].edits) {
    if (edit.of_weights() && edit.layer() == layer) edits.push_back(&edit);
  }
  return edits;
}

std::vector<Point> Branches::kept_points(size_t input, int64_t layer) const {
  std::set<Point> points;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (i != input && inputs_[i].parent != input) continue;
    for (const auto& [point, edits] : point_edits(i, layer)) {
      if (edits.needs_statistics()) points.insert(point);
    }
  }
  return {points.begin(), points.end()};
}

}  // namespace outliers::run
