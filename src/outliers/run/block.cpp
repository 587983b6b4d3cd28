#include "outliers/run/block.h"

#include <ATen/ATen.h>

#include "outliers/ops/attention.h"
#include "outliers/ops/norm.h"
#include "outliers/run/mlp.h"

namespace outliers::run {

namespace {

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

/// change * gain, into change where it is ours alone.
at::Tensor product_of(at::Tensor change, const at::Tensor& gain) {
  return is_ours_alone(change) ? change.mul_(gain) : change * gain;
}

/// Queries or keys x [B,T,heads*d] -> [B,heads,T,d], normed as the model does, else a view.
at::Tensor normed_heads(const models::Config& c, const Norm& norm, const at::Tensor& x, int64_t heads) {
  const auto split = [&](const at::Tensor& whole) {
    return whole.unflatten(2, {heads, c.head_width}).transpose(1, 2);
  };
  switch (c.qk_norm) {
    case models::QkNorm::none:
      break;
    case models::QkNorm::shared:
      return normalise(c, norm, split(x));
    case models::QkNorm::per_head:
      // [heads,d] beside [B,heads,T,d].
      return ops::layer_norm(split(x), {}, {}, c.norm_epsilon).mul_(norm.weight.unsqueeze(1));
    case models::QkNorm::whole:
      return split(normalise(c, norm, x));
  }
  return split(x);
}

/// Tensors without data count as different: that takes more memory.
bool are_same(const at::Tensor& a, const at::Tensor& b) {
  return !a.is_meta() && at::equal(a, b);
}

/// Shows logits and probabilities where somebody asks for them. Where edits change them, the values mixed by
/// what is left, [B,H,T,d], and their sums are shown; else undefined, so that an edit without effect leaves
/// the fast path's bits.
at::Tensor mixed_by_edited_maps(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const ops::AttentionPattern& pattern, const Slice& slice, const Tap& tap) {
  const bool edited = tap.edits(Point::attn_logits) || tap.edits(Point::attn_probs);
  if (!edited && !tap.wants(Point::attn_logits) && !tap.wants(Point::attn_probs)) return {};
  const ops::AttentionMaps maps = ops::attention_maps(q, k, pattern);
  const at::Tensor logits = tap.pass(Point::attn_logits, slice, maps.logits);
  const bool same = !edited || are_same(logits, maps.logits);
  const at::Tensor before = same ? maps.probs : ops::attention_probs(logits, pattern);
  const at::Tensor probs = tap.pass(Point::attn_probs, slice, before);
  if (same && (!edited || are_same(probs, before))) return {};
  if (tap.wants_attention_sums()) {
    ops::AttentionSums sums = tap.empty_sums();
    ops::attention_sums(logits, probs, pattern, sums);
    tap.show_attention_sums(slice, sums);
  }
  return ops::attend(probs, v);
}

at::Tensor attention_part(const models::Config& c, int64_t layer, const LayerWeights& w,
                          const ops::RotaryTable& rotary, const at::Tensor& x, const Slice& slice,
                          const Tap& tap, const std::function<void()>& projected) {
  const int64_t H = c.heads, Hk = c.kv_heads, d = c.head_width;
  at::Tensor fused = at::linear(x, w.qkv, w.qkv_bias);
  if (projected) projected();
  if (c.qkv_clip > 0) fused.clamp_(-c.qkv_clip, c.qkv_clip);
  at::Tensor q = tap.pass(Point::query, slice, normed_heads(c, w.q_norm, fused.narrow(2, 0, H * d), H)),
             k = tap.pass(Point::key, slice, normed_heads(c, w.k_norm, fused.narrow(2, H * d, Hk * d), Hk));
  const at::Tensor v = tap.pass(Point::value, slice,
                                fused.narrow(2, (H + Hk) * d, Hk * d).unflatten(2, {Hk, d}).transpose(1, 2));
  if (rotary.cos.defined()) {
    q = ops::rotate(q, rotary);
    k = ops::rotate(k, rotary);
  }

  ops::AttentionPattern pattern;
  pattern.causal = c.causal;
  pattern.window = c.windows[static_cast<size_t>(layer)];
  pattern.scale = c.attention_scale / static_cast<double>(c.scale_by_layer ? layer + 1 : 1);
  pattern.softcap = c.attention_softcap;
  pattern.sinks = w.sinks;
  if (!c.alibi_slopes.empty())
    pattern.alibi_slopes = at::tensor(c.alibi_slopes, x.options().dtype(at::kDouble));
  at::Tensor mixed = mixed_by_edited_maps(q, k, v, pattern, slice, tap);
  if (!mixed.defined()) {
    ops::AttentionSums sums = tap.empty_sums();
    mixed = ops::attention(q, k, v, pattern, tap.wants_attention_sums() ? &sums : nullptr);
    tap.show_attention_sums(slice, sums);
  }
  mixed = tap.pass(Point::o_in, slice, std::move(mixed));
  mixed = mixed.transpose(1, 2).reshape({x.size(0), x.size(1), H * d});
  return at::linear(mixed, w.o, w.o_bias);
}

}  // namespace

at::Tensor normalise(const models::Config& c, const Norm& norm, const at::Tensor& x) {
  return c.norm == models::NormKind::rms ? ops::rms_norm(x, norm.weight, c.norm_epsilon)
                                         : ops::layer_norm(x, norm.weight, norm.bias, c.norm_epsilon);
}

at::Tensor run_layer(const models::Config& c, int64_t layer, const LayerWeights& w, Experts& experts,
                     const ops::RotaryTable& rotary, at::Tensor hidden, const Slice& slice, const Tap& tap,
                     const std::function<void()>& projected) {
  hidden = tap.pass(Point::resid_in, slice, std::move(hidden));
  at::Tensor mlp_in;
  {
    const at::Tensor x =
        tap.pass(Point::attn_norm_out, slice, c.input_norms ? normalise(c, w.attn_norm, hidden) : hidden);
    if (c.parallel) mlp_in = c.shared_norm ? x : normalise(c, w.mlp_norm, hidden);
    at::Tensor change =
        tap.pass(Point::attn_out, slice, attention_part(c, layer, w, rotary, x, slice, tap, projected));
    if (c.branch_norms) change = normalise(c, w.attn_post_norm, change);
    if (c.branch_scales) change = product_of(std::move(change), w.attn_scale);
    change = tap.pass(Point::attn_added, slice, std::move(change));
    hidden = sum_of(std::move(hidden), std::move(change));
    if (c.residual_norms) hidden = normalise(c, w.attn_norm, hidden);
    hidden = tap.pass(Point::resid_mid, slice, std::move(hidden));
  }
  if (!c.parallel) mlp_in = c.input_norms ? normalise(c, w.mlp_norm, hidden) : hidden;
  mlp_in = tap.pass(Point::mlp_norm_out, slice, std::move(mlp_in));
  at::Tensor change = is_routed(c, layer) ? experts_part(c, w, experts, mlp_in, slice, tap)
                                          : mlp_part(c, w, mlp_in, slice, tap);
  mlp_in = at::Tensor();
  change = tap.pass(Point::down_out, slice, std::move(change));
  if (c.branch_norms) change = normalise(c, w.mlp_post_norm, change);
  if (c.branch_scales) change = product_of(std::move(change), w.mlp_scale);
  change = tap.pass(Point::mlp_added, slice, std::move(change));
  hidden = sum_of(std::move(hidden), std::move(change));
  if (c.residual_norms) hidden = normalise(c, w.mlp_norm, hidden);
  return tap.pass(Point::resid_out, slice, std::move(hidden));
}

}  // namespace outliers::run
