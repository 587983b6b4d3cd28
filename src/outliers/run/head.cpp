#include "outliers/run/head.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "outliers/core/interrupt.h"
#include "outliers/run/block.h"
#include "outliers/run/memory_plan.h"

namespace outliers::run {

Head::Head(const models::Model& model, at::ScalarType dtype, at::Device device, Stopwatch& loading)
    : model_(model),
      config_(model.config()),
      dtype_(dtype),
      device_(device),
      loading_(loading),
      norm_(load_norm(model, "final_norm", dtype, device)) {
  if (model_.has("head_projection.weight")) projection_ = load("head_projection.weight");
  if (config_.head_bias && has_head(config_)) bias_ = load("head.bias");
}

at::Tensor Head::load(const char* name) {
  return loading_.time([&] { return load_once(model_, name, dtype_, device_); });
}

bool Head::shows_logits(const Tap& tap) const {
  return has_head(config_) && tap.wants(Point::logits);
}

at::Tensor Head::operator()(at::Tensor hidden, const Slice& slice, const Tap& tap) {
  at::Tensor x = config_.final_norm ? normalise(config_, norm_, hidden) : hidden;
  hidden = at::Tensor();
  x = tap.pass(Point::final_norm_out, slice, std::move(x));
  if (shows_logits(tap)) show_logits(x, slice, tap);
  return x;
}

at::Tensor Head::rows(int64_t begin, int64_t end) {
  if (const auto known = kept_.find(begin); known != kept_.end()) return known->second;
  const std::string& stored = model_.head().stored.front();
  const at::Tensor rows = loading_.time(
      [&] { return model_.checkpoint().load_row_range(stored, begin, end, dtype_).to(device_); });
  model_.checkpoint().release(stored);
  if (keeps_) kept_.emplace(begin, rows);
  return rows;
}

/// x [n,D] as the output matrix reads it, [n,De].
at::Tensor Head::projected(const at::Tensor& x) const {
  return projection_.defined() ? at::linear(x, projection_) : x;
}

/// What follows the product: bias and soft-cap, in place.
void Head::finish_block(at::Tensor& logits, int64_t begin) const {
  if (bias_.defined()) logits.add_(bias_.narrow(0, begin, logits.size(1)));
  if (config_.logit_softcap > 0) {
    logits.div_(config_.logit_softcap).tanh_().mul_(config_.logit_softcap);
  }
}

at::Tensor Head::block(const at::Tensor& x, const at::Tensor& rows, int64_t begin) const {
  at::Tensor logits = at::mm(projected(x), rows.t());
  finish_block(logits, begin);
  return logits;
}

/// x [b,T,D]. The output matrix is read in blocks of rows: whole, it is often the largest tensor of the
/// run, and is kept only where other groups of sequences follow.
void Head::show_logits(const at::Tensor& x, const Slice& slice, const Tap& tap) {
  const int64_t B = x.size(0), T = x.size(1), V = config_.vocabulary;
  const int64_t step = logit_group(config_, T);
  for (int64_t first = 0; first < B; first += step) {
    const int64_t b = std::min(step, B - first);
    const at::Tensor in = projected(x.narrow(0, first, b).reshape({b * T, -1}));
    at::Tensor logits = at::empty({b * T, V}, x.options());
    for (int64_t begin = 0; begin < V; begin += kVocabularyRows) {
      check_interrupt();
      const int64_t end = std::min(begin + kVocabularyRows, V);
      const at::Tensor head = rows(begin, end);
      at::Tensor part = logits.narrow(1, begin, end - begin);
      at::mm_out(part, in, head.t());
      finish_block(part, begin);
    }
    tap.pass(Point::logits, {slice.input, slice.first_sequence + first}, logits.view({b, T, V}));
  }
}

}  // namespace outliers::run
