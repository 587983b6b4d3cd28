// Of the table of fields (fields.h): the summary.
#pragma once

#include "outliers/results/field.h"
#include "outliers/results/results.h"

namespace outliers::results {

inline constexpr const char* kNonfinite[] = {"NaN", "Inf", "-Inf"};

template <typename V>
void fields(V& v, Before& x) {
  v(field("layer").from(0), x.layer);
  v(field("point"), x.point);
  v(field("value", "the value, signed"), x.value);
  fields_of_place(v, x);
}

template <typename V>
void fields(V& v, FirstNonfinite& x) {
  v(field("layer",
          "the layer of the first place in the order of computation; the rest of the summary tells of the "
          "layers before it")
        .from(0),
    x.layer);
  v(field("point"), x.point);
  v(field("value", "what stands there").among(kNonfinite), x.value);
  v(field("input", "the input where it was seen"), x.input);
  fields_of_place(v, x);
  v(field("before", "the largest value of the nearest measured point before it that is whole; null without")
        .or_null(),
    x.before);
}

template <typename V>
void fields(V& v, MassiveToken& x) {
  v(kTokenField, x.token);
  v(field("text", kTokenTextField.what), x.text);
  v(kClassField, x.token_class);
  v(field("first_layer", "the first layer where it is massive").from(0), x.first_layer);
  v(field("last_layer", "the last").from(0), x.last_layer);
}

template <typename V>
void fields(V& v, Life& x) {
  v(field("input", "the prompt that tells it"), x.input);
  v(field("found", "the largest max/median of a layer's resid_out is at least {found_ratio}"), x.found);
  v(field("born_layer",
          "the layer with the largest factor of max/median of abs resid_out over the layer before, up to the "
          "peak",
          "compare arXiv 2603.05498, step-up block")
        .from(0)
        .or_null(),
    x.born_layer);
  v(field("peak_layer", "the layer whose output has the largest max").from(0).or_null(), x.peak_layer);
  v(field("removed_layer",
          "the first layer after the peak from which on the max stays below {removed_share} of the peak's; "
          "null where no layer removes it")
        .from(0)
        .or_null(),
    x.removed_layer);
  v(field("massive_channels", "channels that hold a massive value in any layer; those of most layers first")
        .from(0),
    x.massive_channels);
  v(field("massive_tokens", "tokens that hold a massive value in any layer"), x.massive_tokens);
}

template <typename V>
void fields(V& v, AlignedNeuron& x) {
  v(field("neuron").from(0), x.neuron);
  v(kExpertField, x.expert);
  v(field("ratio", "max/mean of abs W in its column of the down projection").from(0), x.ratio);
  v(field("weight", "the largest entry of that column"), x.weight);
  v(field("row", "where it stands: the channel that it writes").from(0), x.row);
  v(field("down_in",
          "the neuron's largest abs x over the corpus; in a layer of experts only of the top_channels")
        .from(0),
    x.down_in);
  v(field("product",
          "down_in x abs weight: the most that the neuron writes to any channel, before the expert's weight "
          "and a norm or LayerScale behind the projection")
        .from(0),
    x.product);
}

template <typename V>
void fields(V& v, OutlierLayer& x) {
  v(field("layer").from(0), x.layer);
  v(field("input", "the corpus"), x.input);
  v(field("max_over_mean", "the largest abs x of down_in over the mean of abs x").from(0), x.max_over_mean);
  v(field("aligned", "whether the top column is the top channel, in a layer of experts of the same expert"),
    x.aligned);
  v(field("top_weight", "the neuron of the column with the largest max/mean"), x.top_weight);
  v(field("top_activation", "the neuron with the largest down_in"), x.top_activation);
  v(field("top_product",
          "the neuron with the largest product; in a layer of experts of the top_channels alone"),
    x.top_product);
}

template <typename V>
void fields(V& v, OutlierLayers& x) {
  v(field("share",
          "share of these layers whose top down column is the top channel of down_in; null where there are "
          "none",
          "arXiv 2502.06415, Table 1")
        .from(0)
        .to(1)
        .or_null(),
    x.share);
  v(field("layers",
          "the layers whose down_in has outliers, of all inputs but prompts: max of abs x > "
          "{outlier_token_ratio} x mean of abs x",
          "arXiv 2502.06415, section 3.2"),
    x.layers);
}

template <typename V>
void fields(V& v, Alignment& x) {
  v(field("weight_activation",
          "share of ALL layers, with outliers or without, whose top down column is the top channel of "
          "down_in over the corpus, in a layer of experts of the same expert; the paper's number is "
          "outlier_layers.share")
        .from(0)
        .to(1)
        .or_null(),
    x.weight_activation);
  v(field("activation_attention",
          "share of the outlier keys of layer l+1 whose token is an outlier token in the output of layer l: "
          "max over channels of abs x > {outlier_token_ratio} x mean of abs x; null where there are none",
          "arXiv 2502.06415, Table 1")
        .from(0)
        .to(1)
        .or_null(),
    x.activation_attention);
  v(field("outlier_layers",
          "the layers whose down_in has outliers: whether weights and activations point at the same neuron "
          "there; older reports have none"),
    x.outlier_layers);
}

template <typename V>
void fields(V& v, Headroom& x) {
  v(field("layer", "the layer where the largest abs x is").from(0), x.layer);
  v(field("input", "the input where it is; the first reports do not say").or_left_out(), x.input);
  v(field("max", "the largest abs x at the point").from(0), x.max);
  v(field("max_over_median", "the largest abs x over the median in its layer and input; null where that is 0")
        .from(0)
        .or_null(),
    x.max_over_median);
  v(field("of_fp16_max", "the largest abs x as a share of {fp16_max}, the largest number of float16").from(0),
    x.of_fp16_max);
  v(field("of_fp8_e4m3_max",
          "the largest abs x as a share of {fp8_e4m3_max}, the largest number of float8 e4m3")
        .from(0),
    x.of_fp8_e4m3_max);
  v(field("int8_step_over_median",
          "one step of a per-tensor symmetric int8 scale, max / {int8_steps}, in medians: above "
          "{int8_zero_step}, a median value rounds to zero")
        .from(0)
        .or_null(),
    x.int8_step_over_median);
  v(field("nonfinite", "how many values of the point are NaN or infinite, in all layers and inputs").from(0),
    x.nonfinite);
}

template <typename V>
void fields(V& v, Overflow& x) {
  v(field("layer", "its layer; not there for final_norm_out and logits").from(0), x.layer);
  v(field("point"), x.point);
  fields_of_amax(v, x);
  v(field("largest", "the largest finite number of the format").from(0), x.largest);
  v(field("input", "the input where it was seen"), x.input);
  v(kTokenTextField, x.token_text);
  v(kClassField, x.token_class);
}

template <typename V>
void fields(V& v, NormSummary& x) {
  v(field("layer", "the last layer").from(0), x.layer);
  v(field("cls_median", "the median L2 norm of CLS over images").from(0), x.cls_median);
  v(field("register_median", "the median L2 norm of registers; null without").from(0), x.register_median);
  v(field("patch_median", "the median L2 norm of patches").from(0), x.patch_median);
  v(field("patch_max", "the largest L2 norm of a patch").from(0), x.patch_max);
  v(field("high_patches", "how many patches have a norm above {high_patch_norm}",
          "arXiv 2309.16588, for DINOv2-g")
        .from(0),
    x.high_patches);
  v(field("high_share", "their share of all patches").from(0).to(1), x.high_share);
}

template <typename V>
void fields(V& v, Summary& x) {
  v(field("first_nonfinite", "null where all is finite; else the first place with a NaN or an infinity")
        .or_null(),
    x.first_nonfinite);
  v(field("lives", "what each prompt tells of an outlier's life"), x.lives);
  v(field("alignment", "whether weights, activations and attention point at the same places"), x.alignment);
  v(field("sink_rate", "mean of the heads' sink_rate of the corpus, over heads and layers")
        .from(0)
        .to(1)
        .or_null(),
    x.sink_rate);
  v(field("headroom", "the largest values against the ranges of number formats, by point").named(kPoints),
    x.headroom);
  v(field("first_overflow",
          "by format: the first point, in the order of layers, points and inputs, where an abs x is above "
          "the format's largest number, and the largest abs x there; null where none is, of what the summary "
          "tells")
        .named(kRanges)
        .or_left_out(),
    x.first_overflow);
  v(field("norms", "of images, where all is finite: L2 norms of tokens in the last layer's output"), x.norms);
  v(field(
        "axes",
        "spike, sink and value drain beside each other, by layer: they come apart where norms and attention "
        "are built otherwise",
        "arXiv 2603.05498"),
    x.axes);
  v(field(
        "secondary_sinks",
        "outlier keys, but the first key of a sequence, whose first layer as one comes after the first key's "
        "in that sequence",
        "arXiv 2512.22213"),
    x.secondary_sinks);
  v(field("super_experts",
          "experts whose largest output is above {super_expert_quantile} of all experts' (as a quantile) and "
          "above {super_expert_share} x the largest of all, in layers that step the residual's largest abs x "
          "up "
          "by at least {step_share} x its peak",
          "arXiv 2507.23279"),
    x.super_experts);
  v(field("inactive_heads", "heads that add little: dormant or dead"), x.inactive_heads);
}

}  // namespace outliers::results
