#include "outliers/models/block.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "outliers/ops/attention.h"
#include "outliers/ops/norm.h"

namespace outliers::models {

namespace {

/// Tokens of the MLP computed at a time: enough for the products to run at full speed (fewer cost 4 % at 512,
/// 9 % at 256 on Zen 4), few enough to bound the memory of gate and up.
constexpr int64_t kMlpTokens = 1024;

/// Whether writing into x can disturb nobody: no observer kept it or a view of it.
bool is_ours_alone(const at::Tensor& x) {
  return x.use_count() == 1 && x.storage().use_count() == 1;
}

/// residual + change, into one of them where it is ours alone.
at::Tensor sum_of(at::Tensor residual, at::Tensor change) {
  if (is_ours_alone(residual)) return residual.add_(change);
  if (is_ours_alone(change)) return change.add_(residual);
  return residual + change;
}

void apply_activation_(at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      at::silu_(x);
      return;
    case Activation::gelu_tanh:
      at::gelu_(x, "tanh");
      return;
    case Activation::gelu:
      at::gelu_(x);
      return;
    case Activation::relu:
      at::relu_(x);
      return;
  }
}

/// x [n,in] W' + bias into out [n,outputs].
void project_into(at::Tensor& out, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (bias.defined()) {
    at::addmm_out(out, bias, x, weight.t());
  } else {
    at::mm_out(out, x, weight.t());
  }
}

/// [B,T,heads*d] of a fused projection, from channel `begin` -> [B,heads,T,d], a view.
at::Tensor heads_of(const at::Tensor& fused, int64_t begin, int64_t heads, int64_t d) {
  return fused.narrow(2, begin, heads * d).unflatten(2, {heads, d}).transpose(1, 2);
}

at::Tensor attention_part(const Config& c, int64_t layer, const LayerWeights& w,
                          const ops::RotaryTable& rotary, const at::Tensor& x, const Slice& slice,
                          const Tap& tap, const std::function<void()>& projected) {
  const int64_t H = c.heads, Hk = c.kv_heads, d = c.head_width;
  const at::Tensor fused = at::linear(x, w.qkv, w.qkv_bias);
  if (projected) projected();
  at::Tensor q = heads_of(fused, 0, H, d), k = heads_of(fused, H * d, Hk, d);
  const at::Tensor v = heads_of(fused, (H + Hk) * d, Hk, d);
  if (w.q_norm.defined()) q = ops::rms_norm(q, w.q_norm, c.norm_epsilon);
  if (w.k_norm.defined()) k = ops::rms_norm(k, w.k_norm, c.norm_epsilon);
  tap.show(Point::query, slice, q);
  tap.show(Point::key, slice, k);
  tap.show(Point::value, slice, v);
  if (rotary.cos.defined()) {
    q = ops::rotate(q, rotary);
    k = ops::rotate(k, rotary);
  }

  ops::AttentionPattern pattern;
  pattern.window = c.windows[static_cast<size_t>(layer)];
  pattern.scale = c.attention_scale;
  pattern.softcap = c.attention_softcap;
  if (tap.wants(Point::attn_logits) || tap.wants(Point::attn_probs)) {
    const ops::AttentionMaps maps = ops::attention_maps(q, k, pattern);
    tap.show(Point::attn_logits, slice, maps.logits);
    tap.show(Point::attn_probs, slice, maps.probs);
  }
  ops::AttentionSums sums;
  at::Tensor mixed = ops::attention(q, k, v, pattern, tap.wants_attention_sums() ? &sums : nullptr);
  tap.show_attention_sums(slice, sums);
  mixed = mixed.transpose(1, 2).reshape({x.size(0), x.size(1), H * d});
  return at::linear(mixed, w.o, w.o_bias);
}

at::Tensor mlp_part(const Config& c, const LayerWeights& w, const at::Tensor& x, const Slice& slice,
                    const Tap& tap) {
  const int64_t B = x.size(0), T = x.size(1), n = B * T, F = w.up.size(0);
  const at::Tensor input = x.view({n, -1});
  const auto kept = [&](Point point) {
    return tap.wants(point) ? at::empty({n, F}, x.options()) : at::Tensor();
  };
  at::Tensor gate_out = kept(Point::gate_out), act_out = kept(Point::act_out), up_out = kept(Point::up_out),
             down_in = kept(Point::down_in);
  at::Tensor down_out = at::empty({n, w.down.size(0)}, x.options());
  const int64_t block = std::min(n, kMlpTokens);
  at::Tensor gate_space = at::empty({block, F}, x.options()), up_space = at::empty({block, F}, x.options());

  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t tokens = std::min(block, n - begin);
    const at::Tensor rows = input.narrow(0, begin, tokens);
    const auto part = [&](at::Tensor& whole, at::Tensor& space) {
      return whole.defined() ? whole.narrow(0, begin, tokens) : space.narrow(0, 0, tokens);
    };
    // The product of gate and up is formed where down_in is to stay.
    at::Tensor product = part(down_in, gate_space), up = part(up_out, up_space);
    project_into(product, rows, w.gate, w.gate_bias);
    if (gate_out.defined()) gate_out.narrow(0, begin, tokens).copy_(product);
    apply_activation_(product, c.activation);
    if (act_out.defined()) act_out.narrow(0, begin, tokens).copy_(product);
    project_into(up, rows, w.up, w.up_bias);
    product.mul_(up);
    at::Tensor out = down_out.narrow(0, begin, tokens);
    project_into(out, product, w.down, w.down_bias);
  }
  const auto show = [&](Point point, const at::Tensor& whole) {
    if (whole.defined()) tap.show(point, slice, whole.view({B, T, F}));
  };
  show(Point::gate_out, gate_out);
  show(Point::act_out, act_out);
  show(Point::up_out, up_out);
  show(Point::down_in, down_in);
  return down_out.view({B, T, -1});
}

}  // namespace

at::Tensor run_layer(const Config& c, int64_t layer, const LayerWeights& w, const ops::RotaryTable& rotary,
                     at::Tensor hidden, const Slice& slice, const Tap& tap,
                     const std::function<void()>& projected) {
  tap.show(Point::resid_in, slice, hidden);
  {
    const at::Tensor x = ops::rms_norm(hidden, w.attn_norm, c.norm_epsilon);
    tap.show(Point::attn_norm_out, slice, x);
    at::Tensor change = attention_part(c, layer, w, rotary, x, slice, tap, projected);
    tap.show(Point::attn_out, slice, change);
    if (w.attn_post_norm.defined()) change = ops::rms_norm(change, w.attn_post_norm, c.norm_epsilon);
    hidden = sum_of(std::move(hidden), std::move(change));
    tap.show(Point::resid_mid, slice, hidden);
  }
  const at::Tensor x = ops::rms_norm(hidden, w.mlp_norm, c.norm_epsilon);
  tap.show(Point::mlp_norm_out, slice, x);
  at::Tensor change = mlp_part(c, w, x, slice, tap);
  tap.show(Point::down_out, slice, change);
  if (w.mlp_post_norm.defined()) change = ops::rms_norm(change, w.mlp_post_norm, c.norm_epsilon);
  hidden = sum_of(std::move(hidden), std::move(change));
  tap.show(Point::resid_out, slice, hidden);
  return hidden;
}

}  // namespace outliers::models
