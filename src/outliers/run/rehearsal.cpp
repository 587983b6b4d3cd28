#include "outliers/run/rehearsal.h"

#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "outliers/run/block.h"

namespace outliers::run {

namespace {

/// Numbers that operations take as tensors of the CPU whatever theirs are, like a soft-cap.
constexpr int64_t kNumbers = 256;

}  // namespace

Rehearsal::Rehearsal(const models::Model& model, at::ScalarType dtype) : model_(model), dtype_(dtype) {}

Rehearsal::Part& Rehearsal::part(int64_t layer) {
  const bool routed = is_routed(model_.config(), layer);
  const auto [it, is_new] = parts_.try_emplace(routed);
  Part& part = it->second;
  if (!is_new) return part;
  const int64_t before = memory_.alive();
  memory_.restart();
  part.weights = load_layer(model_, layer, dtype_, at::kMeta);
  part.memory.kept = memory_.alive() - before;
  part.memory.moment = memory_.peak() - memory_.alive();
  part.experts = std::make_unique<LayerExperts>(model_, layer, dtype_, at::kMeta, loading_);
  for (int64_t e = 0; routed && e < model_.config().experts.used; ++e) {  // all that are used in work()
    const int64_t alive = memory_.alive();
    (*part.experts)[e];
    part.memory.expert = memory_.alive() - alive;
  }
  return part;
}

WeightMemory Rehearsal::weights(int64_t layer) {
  return part(layer).memory;
}

int64_t Rehearsal::work(int64_t layer, int64_t B, int64_t T, const Tap& tap, bool shared) {
  const models::Config& c = model_.config();
  const auto l = static_cast<size_t>(layer);
  const int rotary = c.rotary_of_layer[l];
  const std::string key = fmt::format("{} {} {} {} {} {} {}", is_routed(c, layer), c.windows[l], rotary, B, T,
                                      shared, tap.kinds());
  const auto [it, is_new] = known_.try_emplace(key);
  if (!is_new) return it->second;

  const at::NoGradGuard no_grad;
  const Part& own = part(layer);
  const auto of = [](at::ScalarType dtype) { return at::dtype(dtype).device(at::kMeta); };
  ops::RotaryTable table;
  if (const int64_t width = rotary < 0 ? 0 : c.rotaries[static_cast<size_t>(rotary)].width; width > 0) {
    table = {at::empty({T, width / 2}, of(at::kFloat)), at::empty({T, width / 2}, of(at::kFloat))};
  }
  const int64_t before = memory_.alive();
  memory_.restart();
  at::Tensor hidden = at::empty({B, T, c.width}, of(dtype_));
  const at::Tensor stays = shared ? hidden : at::Tensor();
  run_layer(c, layer, own.weights, *own.experts, table, std::move(hidden), Slice{0, 0}, tap, {});
  return it->second = memory_.peak() - before + kNumbers;
}

Rehearsal::Images& Rehearsal::images(models::PatchGrid grid) {
  const auto [it, is_new] = images_.try_emplace({grid.rows, grid.columns});
  Images& images = it->second;
  if (!is_new) return images;
  const int64_t before = memory_.alive();
  memory_.restart();
  images.embedding = std::make_unique<ImageEmbedding>(model_, grid, dtype_, at::kMeta);
  images.memory.kept = memory_.alive() - before;
  images.memory.moment = memory_.peak() - memory_.alive();
  return images;
}

WeightMemory Rehearsal::image_weights(models::PatchGrid grid) {
  return images(grid).memory;
}

int64_t Rehearsal::image_work(models::PatchGrid grid, at::IntArrayRef pixels) {
  const ImageEmbedding& embedding = *images(grid).embedding;
  const at::Tensor in = at::empty(pixels, at::dtype(at::kFloat).device(at::kMeta));
  const int64_t before = memory_.alive();
  memory_.restart();
  const at::Tensor tokens = embedding(in);
  return memory_.peak() - before - static_cast<int64_t>(tokens.nbytes()) + kNumbers;
}

int64_t Rehearsal::rotary(int index, int64_t T) const {
  if (index < 0) return 0;
  const int64_t width = model_.config().rotaries[static_cast<size_t>(index)].width;
  return T * (width / 2) * 2 * static_cast<int64_t>(sizeof(float));
}

}  // namespace outliers::run
