#include "outliers/run/input.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "outliers/core/shape.h"
#include "outliers/models/model.h"
#include "outliers/models/patch_grid.h"
#include "outliers/text/token_class.h"

namespace outliers::run {
namespace {

/// int64 [B,T] -> text::TokenClass of each, int64 [B,T].
at::Tensor classes_of(const text::Tokenizer& tokenizer, const at::Tensor& ids) {
  at::Tensor classes = at::empty_like(ids);
  const auto id = ids.accessor<int64_t, 2>();
  auto value = classes.accessor<int64_t, 2>();
  for (int64_t s = 0; s < ids.size(0); ++s) {
    for (int64_t t = 0; t < ids.size(1); ++t)
      value[s][t] = static_cast<int64_t>(text::token_class(tokenizer, static_cast<int32_t>(id[s][t]), t));
  }
  return classes;
}

}  // namespace

Input image_input(const models::Config& config, std::string name, const at::Tensor& pixels) {
  check_shape(pixels, "image_input", "pixels", {-1, config.vision.channels, -1, -1});
  const int64_t tokens =
      image_tokens(config, patch_grid(config, pixels.size(2), pixels.size(3), "input '" + name + "'"));
  const at::Tensor ids = at::arange(tokens, at::kLong).expand({pixels.size(0), tokens}).contiguous();
  return {std::move(name), ids, pixels};
}

void add_classes(const models::Model& model, std::vector<Input>& inputs) {
  if (models::reads_images(model.config())) return;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!name_classes(inputs[i].edits)) continue;
    Input& whole = inputs[std::min(inputs[i].parent.value_or(i), i)];
    if (whole.classes.defined() || whole.ids.dim() != 2 || whole.ids.scalar_type() != at::kLong) continue;
    whole.classes = classes_of(model.tokenizer(), whole.ids);
  }
}

}  // namespace outliers::run
