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

/// Queries or keys x [B,T,heads*d] -> [B,heads,T,d], normed as the model does, else a view.
at::Tensor normed_heads(const Config& c, const Norm& norm, const at::Tensor& x, int64_t heads) {
  const auto split = [&](const at::Tensor& whole) {
    return whole.unflatten(2, {heads, c.head_width}).transpose(1, 2);
  };
  switch (c.qk_norm) {
    case QkNorm::none:
      break;
    case QkNorm::shared:
      return normalise(c, norm, split(x));
    case QkNorm::per_head:
      // [heads,d] beside [B,heads,T,d].
      return ops::layer_norm(split(x), {}, {}, c.norm_epsilon).mul_(norm.weight.unsqueeze(1));
    case QkNorm::whole:
      return split(normalise(c, norm, x));
  }
  return split(x);
}

at::Tensor attention_part(const Config& c, int64_t layer, const LayerWeights& w,
                          const ops::RotaryTable& rotary, const at::Tensor& x, const Slice& slice,
                          const Tap& tap, const std::function<void()>& projected) {
  const int64_t H = c.heads, Hk = c.kv_heads, d = c.head_width;
  at::Tensor fused = at::linear(x, w.qkv, w.qkv_bias);
  if (projected) projected();
  if (c.qkv_clip > 0) fused.clamp_(-c.qkv_clip, c.qkv_clip);
  at::Tensor q = normed_heads(c, w.q_norm, fused.narrow(2, 0, H * d), H),
             k = normed_heads(c, w.k_norm, fused.narrow(2, H * d, Hk * d), Hk);
  const at::Tensor v = fused.narrow(2, (H + Hk) * d, Hk * d).unflatten(2, {Hk, d}).transpose(1, 2);
  tap.show(Point::query, slice, q);
  tap.show(Point::key, slice, k);
  tap.show(Point::value, slice, v);
  if (rotary.cos.defined()) {
    q = ops::rotate(q, rotary);
    k = ops::rotate(k, rotary);
  }

  ops::AttentionPattern pattern;
  pattern.window = c.windows[static_cast<size_t>(layer)];
  pattern.scale = c.attention_scale / static_cast<double>(c.scale_by_layer ? layer + 1 : 1);
  pattern.softcap = c.attention_softcap;
  if (!c.alibi_slopes.empty()) pattern.alibi_slopes = at::tensor(c.alibi_slopes, at::kDouble);
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
  const at::Tensor input = x.reshape({n, -1});
  const auto kept = [&](Point point) {
    return tap.wants(point) ? at::empty({n, F}, x.options()) : at::Tensor();
  };
  // Without a gate, act_out is what the down projection reads.
  const bool gated = w.gate.defined(), keeps_input = tap.wants(Point::down_in);
  const at::Tensor none;
  at::Tensor gate_out = gated ? kept(Point::gate_out) : none, act_out = gated ? kept(Point::act_out) : none,
             up_out = kept(Point::up_out);
  at::Tensor down_in = keeps_input || gated ? kept(Point::down_in) : kept(Point::act_out);
  at::Tensor down_out = at::empty({n, w.down.size(0)}, x.options());
  const int64_t block = std::min(n, kMlpTokens);
  at::Tensor product_space = at::empty({block, F}, x.options()),
             up_space = gated ? at::empty({block, F}, x.options()) : none;

  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t tokens = std::min(block, n - begin);
    const at::Tensor rows = input.narrow(0, begin, tokens);
    const auto part = [&](at::Tensor& whole, at::Tensor& space) {
      return whole.defined() ? whole.narrow(0, begin, tokens) : space.narrow(0, 0, tokens);
    };
    const auto keep = [&](at::Tensor& whole, const at::Tensor& product) {
      if (whole.defined()) whole.narrow(0, begin, tokens).copy_(product);
    };
    // The product of gate and up is formed where down_in is to stay.
    at::Tensor product = part(down_in, product_space);
    if (gated) {
      project_into(product, rows, w.gate, w.gate_bias);
      keep(gate_out, product);
      apply_activation_(product, c.activation);
      keep(act_out, product);
      at::Tensor up = part(up_out, up_space);
      project_into(up, rows, w.up, w.up_bias);
      product.mul_(up);
    } else {
      project_into(product, rows, w.up, w.up_bias);
      keep(up_out, product);
      apply_activation_(product, c.activation);
    }
    at::Tensor out = down_out.narrow(0, begin, tokens);
    project_into(out, product, w.down, w.down_bias);
  }
  const auto show = [&](Point point, const at::Tensor& whole) {
    if (whole.defined()) tap.show(point, slice, whole.view({B, T, F}));
  };
  show(Point::gate_out, gate_out);
  show(Point::act_out, gated ? act_out : down_in);
  show(Point::up_out, up_out);
  show(Point::down_in, down_in);
  return down_out.view({B, T, -1});
}

}  // namespace

at::Tensor normalise(const Config& c, const Norm& norm, const at::Tensor& x) {
  return c.norm == NormKind::rms ? ops::rms_norm(x, norm.weight, c.norm_epsilon)
                                 : ops::layer_norm(x, norm.weight, norm.bias, c.norm_epsilon);
}

at::Tensor run_layer(const Config& c, int64_t layer, const LayerWeights& w, const ops::RotaryTable& rotary,
                     at::Tensor hidden, const Slice& slice, const Tap& tap,
                     const std::function<void()>& projected) {
  tap.show(Point::resid_in, slice, hidden);
  at::Tensor mlp_in;
  {
    const at::Tensor x = c.input_norms ? normalise(c, w.attn_norm, hidden) : hidden;
    tap.show(Point::attn_norm_out, slice, x);
    if (c.parallel) mlp_in = c.shared_norm ? x : normalise(c, w.mlp_norm, hidden);
    at::Tensor change = attention_part(c, layer, w, rotary, x, slice, tap, projected);
    tap.show(Point::attn_out, slice, change);
    if (c.branch_norms) change = normalise(c, w.attn_post_norm, change);
    hidden = sum_of(std::move(hidden), std::move(change));
    if (c.residual_norms) hidden = normalise(c, w.attn_norm, hidden);
    tap.show(Point::resid_mid, slice, hidden);
  }
  if (!c.parallel) mlp_in = c.input_norms ? normalise(c, w.mlp_norm, hidden) : hidden;
  tap.show(Point::mlp_norm_out, slice, mlp_in);
  at::Tensor change = mlp_part(c, w, mlp_in, slice, tap);
  mlp_in = at::Tensor();
  tap.show(Point::down_out, slice, change);
  if (c.branch_norms) change = normalise(c, w.mlp_post_norm, change);
  hidden = sum_of(std::move(hidden), std::move(change));
  if (c.residual_norms) hidden = normalise(c, w.mlp_norm, hidden);
  tap.show(Point::resid_out, slice, hidden);
  return hidden;
}

}  // namespace outliers::models
