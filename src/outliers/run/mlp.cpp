#include "outliers/run/mlp.h"

#include <algorithm>
#include <map>
#include <vector>

#include <ATen/ATen.h>

namespace outliers::run {

namespace {

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

/// x[rows]. Of tensors without data there is no index_select.
at::Tensor select(const at::Tensor& x, const at::Tensor& rows) {
  return x.is_meta() ? at::empty({rows.numel(), x.size(1)}, x.options()) : x.index_select(0, rows);
}

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

/// Tokens that pass one MLP: rows of `whole` tensors, all where rows is undefined.
struct Passing {
  const Mlp& weights;
  at::Tensor input;  // [m,D]
  at::Tensor rows;   // [m]
};

bool is_edited(const Tap& tap, const MlpPoints& points) {
  return tap.edits(points.gate_out) || tap.edits(points.act_out) || tap.edits(points.up_out) ||
         tap.edits(points.down_in);
}

/// The way through one MLP, or several experts, where a product is edited on it: one product of all tokens
/// after the other. pass(point, product [n,F]) gives the edited one. Blocks are those of run_mlp, so that
/// what no edit changes is the same to the last bit.
class EditedMlp {
 public:
  EditedMlp(const models::Config& c, std::vector<Passing> groups, int64_t n)
      : c_(c), groups_(std::move(groups)), n_(n) {}

  /// -> [n,D]
  template <typename Pass>
  at::Tensor operator()(const MlpPoints& points, const Pass& pass) const {
    const bool gated = groups_.front().weights.gate.defined();
    at::Tensor act, product;
    if (gated) act = activated(pass(points.gate_out, projected(&Mlp::gate, &Mlp::gate_bias)), c_.mlp_clamp);
    if (gated) act = pass(points.act_out, act);
    at::Tensor up = pass(points.up_out, projected(&Mlp::up, &Mlp::up_bias));
    if (gated) {
      if (c_.mlp_clamp > 0) up = up.clamp(-c_.mlp_clamp, c_.mlp_clamp);
      product = act * (c_.up_adds_one ? up + 1 : up);
    } else {
      product = pass(points.act_out, activated(up, 0));
    }
    act = up = at::Tensor();
    product = pass(points.down_in, product);
    return stage([&](const Passing& group) {
      return blocks(rows_of(product, group), group.weights.down, group.weights.down_bias);
    });
  }

 private:
  static at::Tensor rows_of(const at::Tensor& whole, const Passing& group) {
    return group.rows.defined() ? select(whole, group.rows) : whole;
  }
  /// compute(group) -> [m,...] of each, put together.
  template <typename Compute>
  at::Tensor stage(const Compute& compute) const {
    if (!groups_.front().rows.defined()) return compute(groups_.front());
    at::Tensor whole;
    for (const Passing& group : groups_) {
      const at::Tensor part = compute(group);
      if (!whole.defined()) whole = at::empty({n_, part.size(1)}, part.options());
      whole.index_copy_(0, group.rows, part);
    }
    return whole;
  }
  static at::Tensor blocks(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    at::Tensor out = at::empty({x.size(0), weight.size(0)}, x.options());
    for (int64_t begin = 0; begin < x.size(0); begin += kMlpTokens) {
      const int64_t tokens = std::min(kMlpTokens, x.size(0) - begin);
      at::Tensor part = out.narrow(0, begin, tokens);
      project_into(part, x.narrow(0, begin, tokens), weight, bias);
    }
    return out;
  }
  at::Tensor projected(at::Tensor Mlp::*weight, at::Tensor Mlp::*bias) const {
    return stage([&](const Passing& group) {
      return blocks(group.input, group.weights.*weight, group.weights.*bias);
    });
  }
  at::Tensor activated(const at::Tensor& whole, double clamp) const {
    return stage([&](const Passing& group) {
      at::Tensor out = rows_of(whole, group).clone(at::MemoryFormat::Contiguous);
      for (int64_t begin = 0; begin < out.size(0); begin += kMlpTokens) {
        at::Tensor part = out.narrow(0, begin, std::min(kMlpTokens, out.size(0) - begin));
        if (clamp > 0) part.clamp_max_(clamp);
        apply_activation_(part, c_.activation);
      }
      return out;
    });
  }

  const models::Config& c_;
  std::vector<Passing> groups_;
  int64_t n_;
};

/// input [n,D] -> [n,D] through an MLP that all tokens of the slice pass, with its points shown.
at::Tensor whole_mlp(const models::Config& c, const Mlp& w, const at::Tensor& input, const MlpPoints& points,
                     int64_t B, const Slice& slice, const Tap& tap) {
  const int64_t T = input.size(0) / B;
  if (is_edited(tap, points)) {
    return EditedMlp(c, {{w, input, {}}}, B * T)(points, [&](Point point, const at::Tensor& product) {
      return tap.pass(point, slice, product.view({B, T, -1})).reshape({B * T, -1});
    });
  }
  MlpProducts shown;
  const at::Tensor out = run_mlp(c, w, input, tap, points, shown);
  shown.for_each(points, [&](Point point, const at::Tensor& product) {
    tap.show(point, slice, product.view({B, T, -1}));
  });
  return out;
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

/// How many tokens pass each expert. Of tokens without data: what takes most memory, all the same k.
std::vector<int64_t> routes_of(const at::Tensor& expert_of, const models::Experts& experts) {
  std::vector<int64_t> count(static_cast<size_t>(experts.count), 0);
  if (expert_of.is_meta()) {
    std::fill_n(count.begin(), experts.used, expert_of.numel() / experts.used);
    return count;
  }
  const at::Tensor counts = at::bincount(expert_of, {}, experts.count).cpu();
  std::copy_n(counts.const_data_ptr<int64_t>(), experts.count, count.begin());
  return count;
}

}  // namespace

at::Tensor mlp_part(const models::Config& c, const LayerWeights& w, const at::Tensor& x, const Slice& slice,
                    const Tap& tap) {
  const at::Tensor input = x.reshape({x.size(0) * x.size(1), -1});
  return whole_mlp(c, w.mlp, input, kOwnMlp, x.size(0), slice, tap).view({x.size(0), x.size(1), -1});
}

at::Tensor experts_part(const models::Config& c, const LayerWeights& w, Experts& experts, const at::Tensor& x,
                        const Slice& slice, const Tap& tap) {
  const int64_t B = x.size(0), T = x.size(1), n = B * T, k = c.experts.used;
  const at::Tensor input = x.reshape({n, -1});
  const at::Tensor logits =
      tap.pass(Point::router_logits, slice, at::linear(input, w.router, w.router_bias).view({B, T, -1}))
          .reshape({n, -1});
  const Routes routes = choose_experts(c, logits);
  const at::Tensor index = routes.index.view({B, T, k});
  tap.show(Point::experts_index, slice, index);
  const at::Tensor weight_of =
      tap.pass(Point::experts_weight, slice, routes.weight.view({B, T, k}), index).reshape({-1, 1});

  // A route is a token and one of its experts, number token * k + place. In order of experts:
  const at::Tensor expert_of = routes.index.reshape({-1});
  const at::Tensor order = expert_of.argsort(/*stable=*/true, 0, false);
  const std::vector<int64_t> count = routes_of(expert_of, c.experts);
  std::vector<int64_t> chosen;
  for (int64_t e = 0; e < c.experts.count; ++e) {
    if (count[static_cast<size_t>(e)] > 0) chosen.push_back(e);
  }
  experts.prefetch(chosen);
  std::vector<at::Tensor> rows_of;
  for (int64_t begin = 0; const int64_t e : chosen) {
    const int64_t passing = count[static_cast<size_t>(e)];
    rows_of.push_back(order.narrow(0, begin, passing));
    begin += passing;
  }

  at::Tensor sum = at::zeros_like(input);
  const auto add = [&](at::Tensor out, const at::Tensor& rows) {
    sum.index_add_(0, rows.div(k, "floor"), out.mul_(select(weight_of, rows)));
  };
  if (is_edited(tap, kExpertMlp) || tap.edits(Point::experts_down_out)) {
    std::vector<Passing> groups;
    for (size_t i = 0; i < chosen.size(); ++i) {
      const at::Tensor tokens = rows_of[i].div(k, "floor");
      groups.push_back({experts[chosen[i]], select(input, tokens), rows_of[i]});
    }
    const auto pass = [&](Point point, const at::Tensor& product) {
      return tap.pass(point, slice, product.view({B, T, k, -1}), index).reshape({n * k, -1});
    };
    const at::Tensor out = pass(Point::experts_down_out, EditedMlp(c, groups, n * k)(kExpertMlp, pass));
    for (const at::Tensor& rows : rows_of) add(select(out, rows), rows);
  } else {
    std::map<Point, at::Tensor> whole;  // [n*k, ...]
    const auto keep = [&](Point point, const at::Tensor& product, const at::Tensor& rows) {
      at::Tensor& all = whole[point];
      if (!all.defined()) all = at::empty({n * k, product.size(1)}, product.options());
      all.index_copy_(0, rows, product);
    };
    for (size_t i = 0; i < chosen.size(); ++i) {
      const at::Tensor& rows = rows_of[i];
      MlpProducts shown;
      at::Tensor out =
          run_mlp(c, experts[chosen[i]], select(input, rows.div(k, "floor")), tap, kExpertMlp, shown);
      shown.for_each(kExpertMlp, [&](Point point, const at::Tensor& product) { keep(point, product, rows); });
      if (tap.wants(Point::experts_down_out)) keep(Point::experts_down_out, out, rows);
      add(std::move(out), rows);
    }
    for (const auto& [point, all] : whole) tap.show(point, slice, all.view({B, T, k, -1}));
  }

  if (c.experts.shared_width > 0) {
    const at::Tensor weight =
        tap.pass(Point::shared_weight, slice, at::linear(input, w.shared_gate).sigmoid_().view({B, T, 1}))
            .reshape({n, 1});
    const at::Tensor out = tap.pass(Point::shared_down_out, slice,
                                    whole_mlp(c, w.mlp, input, kSharedMlp, B, slice, tap).view({B, T, -1}))
                               .reshape({n, -1});
    sum.addcmul_(out, weight);
  }
  return sum.view({B, T, -1});
}

}  // namespace outliers::run
