#include "outliers/run/block.h"

#include <algorithm>
#include <map>
#include <vector>

#include <ATen/ATen.h>

#include "outliers/ops/attention.h"
#include "outliers/ops/norm.h"

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

void apply_activation_(at::Tensor& x, models::Activation activation) {
  switch (activation) {
    case models::Activation::silu:
      at::silu_(x);
      return;
    case models::Activation::gelu_tanh:
      at::gelu_(x, "tanh");
      return;
    case models::Activation::gelu:
      at::gelu_(x);
      return;
    case models::Activation::relu:
      at::relu_(x);
      return;
    case models::Activation::quick_gelu:
      x.mul_((x * 1.702).sigmoid_());
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

at::Tensor attention_part(const models::Config& c, int64_t layer, const LayerWeights& w,
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
  pattern.causal = c.causal;
  pattern.window = c.windows[static_cast<size_t>(layer)];
  pattern.scale = c.attention_scale / static_cast<double>(c.scale_by_layer ? layer + 1 : 1);
  pattern.softcap = c.attention_softcap;
  pattern.sinks = w.sinks;
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

/// The points of one MLP.
struct MlpPoints {
  Point gate_out, act_out, up_out, down_in;
};
constexpr MlpPoints kOwn = {Point::gate_out, Point::act_out, Point::up_out, Point::down_in},
                    kShared = {Point::shared_gate_out, Point::shared_act_out, Point::shared_up_out,
                               Point::shared_down_in},
                    kExpert = {Point::experts_gate_out, Point::experts_act_out, Point::experts_up_out,
                               Point::experts_down_in};

/// What is to be shown of one pass through an MLP, [n,F] each; undefined where nobody asks.
struct MlpProducts {
  at::Tensor gate_out, act_out, up_out, down_in;

  /// action(point, product)
  template <typename Action>
  void for_each(const MlpPoints& points, const Action& action) const {
    if (gate_out.defined()) action(points.gate_out, gate_out);
    if (act_out.defined()) action(points.act_out, act_out);
    if (up_out.defined()) action(points.up_out, up_out);
    if (down_in.defined()) action(points.down_in, down_in);
  }
};

/// input [n,D] -> [n,D]. Fills `shown`.
at::Tensor run_mlp(const models::Config& c, const Mlp& w, const at::Tensor& input, const Tap& tap,
                   const MlpPoints& points, MlpProducts& shown) {
  const int64_t n = input.size(0), F = w.up.size(0);
  const auto kept = [&](Point point) {
    return tap.wants(point) ? at::empty({n, F}, input.options()) : at::Tensor();
  };
  // Without a gate, act_out is what the down projection reads.
  const bool gated = w.gate.defined(), keeps_input = tap.wants(points.down_in);
  const at::Tensor none;
  at::Tensor gate_out = gated ? kept(points.gate_out) : none, act_out = gated ? kept(points.act_out) : none,
             up_out = kept(points.up_out);
  at::Tensor down_in = keeps_input || gated ? kept(points.down_in) : kept(points.act_out);
  at::Tensor down_out = at::empty({n, w.down.size(0)}, input.options());
  const int64_t block = std::min(n, kMlpTokens);
  at::Tensor product_space = at::empty({block, F}, input.options()),
             up_space = gated ? at::empty({block, F}, input.options()) : none;

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
      if (c.mlp_clamp > 0) product.clamp_max_(c.mlp_clamp);
      apply_activation_(product, c.activation);
      keep(act_out, product);
      at::Tensor up = part(up_out, up_space);
      project_into(up, rows, w.up, w.up_bias);
      if (c.mlp_clamp > 0) up = up.clamp(-c.mlp_clamp, c.mlp_clamp);
      product.mul_(c.up_adds_one ? up + 1 : up);
    } else {
      project_into(product, rows, w.up, w.up_bias);
      keep(up_out, product);
      apply_activation_(product, c.activation);
    }
    at::Tensor out = down_out.narrow(0, begin, tokens);
    project_into(out, product, w.down, w.down_bias);
  }
  shown = {gate_out, gated || !tap.wants(points.act_out) ? act_out : down_in, up_out,
           keeps_input ? down_in : none};
  return down_out;
}

/// x [B,T,D] -> [B,T,D].
at::Tensor mlp_part(const models::Config& c, const LayerWeights& w, const at::Tensor& x, const Slice& slice,
                    const Tap& tap) {
  const int64_t B = x.size(0), T = x.size(1);
  MlpProducts shown;
  const at::Tensor out = run_mlp(c, w.mlp, x.reshape({B * T, -1}), tap, kOwn, shown);
  shown.for_each(kOwn, [&](Point point, const at::Tensor& product) {
    tap.show(point, slice, product.view({B, T, -1}));
  });
  return out.view({B, T, -1});
}

/// Which experts each of n tokens passes, [n,k], and the weights of their outputs, [n,k], in the dtype of x.
struct Routes {
  at::Tensor index, weight;
};

Routes choose_experts(const models::Config& c, const at::Tensor& logits) {
  const at::Tensor wide = logits.to(wide_type(logits.scalar_type()));
  const auto [top, index] = wide.topk(c.experts.used, 1);
  // A softmax over all, divided by its sum over the chosen, is a softmax over the chosen.
  const at::Tensor weight =
      c.experts.normalised ? at::softmax(top, 1) : at::softmax(wide, 1).gather(1, index);
  return {index, weight.to(logits.scalar_type())};
}

/// x [B,T,D] -> [B,T,D]: the weighted sum of the outputs of the experts that each token passes. The tokens of
/// one expert pass it together.
at::Tensor experts_part(const models::Config& c, const LayerWeights& w, LayerExperts& experts,
                        const at::Tensor& x, const Slice& slice, const Tap& tap) {
  const int64_t B = x.size(0), T = x.size(1), n = B * T, k = c.experts.used;
  const at::Tensor input = x.reshape({n, -1}), logits = at::linear(input, w.router, w.router_bias);
  tap.show(Point::router_logits, slice, logits.view({B, T, -1}));
  const Routes routes = choose_experts(c, logits);
  tap.show(Point::experts_index, slice, routes.index.view({B, T, k}));
  tap.show(Point::experts_weight, slice, routes.weight.view({B, T, k}));

  // A route is a token and one of its experts, number token * k + place. In order of experts:
  const at::Tensor expert_of = routes.index.reshape({-1}), weight_of = routes.weight.reshape({-1});
  const at::Tensor order = expert_of.argsort(/*stable=*/true, 0, false);
  const at::Tensor counts = at::bincount(expert_of, {}, c.experts.count).cpu();
  const auto count = counts.accessor<int64_t, 1>();
  std::vector<int64_t> chosen;
  for (int64_t e = 0; e < c.experts.count; ++e) {
    if (count[e] > 0) chosen.push_back(e);
  }
  experts.prefetch(chosen);

  at::Tensor sum = at::zeros_like(input);
  std::map<Point, at::Tensor> whole;  // [n*k, ...]
  const auto keep = [&](Point point, const at::Tensor& product, const at::Tensor& rows) {
    at::Tensor& all = whole[point];
    if (!all.defined()) all = at::empty({n * k, product.size(1)}, product.options());
    all.index_copy_(0, rows, product);
  };
  int64_t begin = 0;
  for (const int64_t e : chosen) {
    const at::Tensor rows = order.narrow(0, begin, count[e]), tokens = rows.div(k, "floor");
    begin += count[e];
    MlpProducts shown;
    at::Tensor out = run_mlp(c, experts[e], input.index_select(0, tokens), tap, kExpert, shown);
    shown.for_each(kExpert, [&](Point point, const at::Tensor& product) { keep(point, product, rows); });
    if (tap.wants(Point::experts_down_out)) keep(Point::experts_down_out, out, rows);
    sum.index_add_(0, tokens, out.mul_(weight_of.index_select(0, rows).unsqueeze(1)));
  }
  for (const auto& [point, all] : whole) tap.show(point, slice, all.view({B, T, k, -1}));

  if (c.experts.shared_width > 0) {
    const at::Tensor weight = at::linear(input, w.shared_gate).sigmoid_();
    tap.show(Point::shared_weight, slice, weight.view({B, T, 1}));
    MlpProducts shown;
    const at::Tensor out = run_mlp(c, w.mlp, input, tap, kShared, shown);
    shown.for_each(kShared, [&](Point point, const at::Tensor& product) {
      tap.show(point, slice, product.view({B, T, -1}));
    });
    tap.show(Point::shared_down_out, slice, out.view({B, T, -1}));
    sum.addcmul_(out, weight);
  }
  return sum.view({B, T, -1});
}

}  // namespace

at::Tensor normalise(const models::Config& c, const Norm& norm, const at::Tensor& x) {
  return c.norm == models::NormKind::rms ? ops::rms_norm(x, norm.weight, c.norm_epsilon)
                                         : ops::layer_norm(x, norm.weight, norm.bias, c.norm_epsilon);
}

at::Tensor run_layer(const models::Config& c, int64_t layer, const LayerWeights& w, LayerExperts& experts,
                     const ops::RotaryTable& rotary, at::Tensor hidden, const Slice& slice, const Tap& tap,
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
    if (c.branch_scales) change = product_of(std::move(change), w.attn_scale);
    tap.show(Point::attn_added, slice, change);
    hidden = sum_of(std::move(hidden), std::move(change));
    if (c.residual_norms) hidden = normalise(c, w.attn_norm, hidden);
    tap.show(Point::resid_mid, slice, hidden);
  }
  if (!c.parallel) mlp_in = c.input_norms ? normalise(c, w.mlp_norm, hidden) : hidden;
  tap.show(Point::mlp_norm_out, slice, mlp_in);
  at::Tensor change = is_routed(c, layer) ? experts_part(c, w, experts, mlp_in, slice, tap)
                                          : mlp_part(c, w, mlp_in, slice, tap);
  mlp_in = at::Tensor();
  tap.show(Point::down_out, slice, change);
  if (c.branch_norms) change = normalise(c, w.mlp_post_norm, change);
  if (c.branch_scales) change = product_of(std::move(change), w.mlp_scale);
  tap.show(Point::mlp_added, slice, change);
  hidden = sum_of(std::move(hidden), std::move(change));
  if (c.residual_norms) hidden = normalise(c, w.mlp_norm, hidden);
  tap.show(Point::resid_out, slice, hidden);
  return hidden;
}

}  // namespace outliers::run
