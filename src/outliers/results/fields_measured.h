// Of the table of fields (fields.h): what was measured in a layer.
#pragma once

#include "outliers/results/field.h"
#include "outliers/results/results.h"

namespace outliers::results {

inline constexpr const char* kModules[] = {"q", "k", "v", "o", "gate", "up", "down"};
inline constexpr const char* kExpertModules[] = {"gate", "up", "down"};
inline constexpr const char* kPatchClass[] = {"patch"};

template <typename V>
void fields(V& v, Place& x) {
  v(field("value", "the value, signed"), x.value);
  fields_of_place(v, x);
}

template <typename V>
void fields(V& v, ChannelMax& x) {
  v(kChannelField, x.channel);
  v(field("max", "the channel's largest abs x").from(0), x.max);
  v(kExpertField, x.expert);
}

template <typename V>
void fields(V& v, TokenCount& x) {
  v(kTokenTextField, x.token_text);
  v(kClassField, x.token_class);
  v(field("count", "how many tokens of the kind hold one").from(1), x.count);
}

template <typename V>
void fields(V& v, Activations& x) {
  v(field("max", "the largest abs x over all tokens and channels of all sequences").from(0), x.max);
  v(field("median", "the median of abs x over all of them, exact; between two middle values their mean")
        .from(0),
    x.median);
  v(field("mean", "the mean of abs x over all of them").from(0), x.mean);
  v(field("kurtosis_pearson",
          "E(x-mu)^4 / (std^4 + 1e-6) of x per sequence, over tokens and channels; mean over sequences",
          "arXiv 2306.12929")
        .from(0),
    x.kurtosis_pearson);
  v(field("infinity_norm", "the largest abs x of each sequence; mean over sequences", "arXiv 2306.12929")
        .from(0),
    x.infinity_norm);
  v(field("top3_mean", "the largest, second and third abs x of each sequence; mean over sequences",
          "arXiv 2502.06415, Fig. 3")
        .from(0)
        .at_most(3),
    x.top3_mean);
  v(field("count", "how many values there are").from(0), x.count);
  v(field("top", "the largest values by abs x, with sequence, token and channel"), x.top);
  v(field("top_channels", "the channels with the largest maxima"), x.top_channels);
  v(field("massive",
          "abs x > {massive_above} and abs x > {massive_ratio} x median of abs x over all tokens and "
          "channels of the point; the largest are listed, with their tokens' text and class",
          "arXiv 2402.17762"),
    x.massive);
  v(field("massive_count", "how many values are massive, also those that are not listed").from(0),
    x.massive_count);
  v(field("nonfinite", "how many are NaN or infinite; they are left out of everything else").from(0),
    x.nonfinite);
  v(field("massive_tokens",
          "the tokens that hold a massive value, by text and class, with their number; the most frequent",
          "arXiv 2502.06415, section 3.2"),
    x.massive_tokens);
}

template <typename V>
void fields(V& v, Key& x) {
  v(kSequenceField, x.sequence);
  v(field("key", "its place in the sequence").from(0), x.key);
  v(field("score",
          "the probability that it receives, summed over queries and averaged over the heads where that is "
          "finite: between 0 and the number of tokens",
          "arXiv 2502.06415, section 3.3")
        .from(0),
    x.score);
  v(kTokenTextField, x.token_text);
  v(kClassField, x.token_class);
}

template <typename V>
void fields(V& v, Head& x) {
  v(field("head").from(0), x.head);
  v(field("outlier_share", "the part of the head's probability mass that goes to the layer's outlier keys",
          "arXiv 2502.06415, section 3.3")
        .from(0)
        .to(1.001),  // a sum of rounded probabilities
    x.outlier_share);
  v(field("sink_rate",
          "share of sequences where the first key's probability, averaged over the first {sink_queries} "
          "queries, is above {sink_epsilon}",
          "arXiv 2410.10781, Sink_1")
        .from(0)
        .to(1),
    x.sink_rate);
}

template <typename V>
void fields(V& v, Attention& x) {
  v(field("top_keys", "the keys with the largest scores, with text and class"), x.top_keys);
  v(field("outlier_keys", "all keys whose score is at least {outlier_key_share} x tokens of the sequence",
          "arXiv 2502.06415, section 3.3"),
    x.outlier_keys);
  v(field("median", "the median of all keys' scores").from(0), x.median);
  v(field("top3_mean", "the largest, second and third score of each sequence; mean over sequences")
        .from(0)
        .at_most(3),
    x.top3_mean);
  v(field("heads", "one object a head of queries").not_empty(), x.heads);
  v(field("nonfinite", "how many sums over queries are NaN or infinite; they are left out").from(0),
    x.nonfinite);
}

template <typename V>
void fields(V& v, Neuron& x) {
  v(field("neuron").from(0), x.neuron);
  v(field("down_in", "its activation, what the down projection reads"), x.down_in);
  v(field("weight", "W_down[channel, neuron], of the stored matrix"), x.weight);
  v(field("product",
          "what it adds to the residual: down_in x weight, in a layer of experts also x expert_weight, and x "
          "what a norm or LayerScale after the projection makes of it"),
    x.product);
  v(kExpertField, x.expert);
  v(field("expert_weight", "what the router, or the shared expert's gate, multiplies its output by"),
    x.expert_weight);
}

template <typename V>
void fields(V& v, Write& x) {
  v(kTokenField, x.token);
  v(field("channel").from(0), x.channel);
  v(field("resid_in", "the value that enters the layer"), x.resid_in);
  v(field("attention", "what attention adds (a norm of the residual itself counts to the part it follows)"),
    x.attention);
  v(field("mlp", "what the MLP adds"), x.mlp);
  v(field("resid_out", "the value that leaves the layer"), x.resid_out);
  v(field("neurons", "the neurons with the largest products by abs"), x.neurons);
}

template <typename V>
void fields(V& v, Writes& x) {
  v(field("largest", "the place of the layer's largest abs x at resid_out"), x.largest);
  v(field("followed",
          "the place that was largest one layer earlier, so that a removal shows as an addition of the "
          "opposite sign"),
    x.followed);
}

/// Of tokens of one kind.
template <typename V, typename X>
void fields_of_norms(V& v, X& x) {
  v(field("median", "the median norm").from(0), x.median);
  v(field("max", "the largest norm").from(0), x.max);
}

template <typename V>
void fields(V& v, NormExtent& x) {
  fields_of_norms(v, x);
}

template <typename V>
void fields(V& v, RegisterNorms& x) {
  fields_of_norms(v, x);
  v(field("each", "the median norm of each register").from(0).not_empty(), x.each);
}

template <typename V>
void fields(V& v, PatchPlace& x) {
  v(kSequenceField, x.sequence);
  v(kTokenField, x.token);
  v(kTokenTextField, x.token_text);
  v(kClassField.among(kPatchClass), x.token_class);
}

template <typename V>
void fields(V& v, PatchNorms& x) {
  fields_of_norms(v, x);
  v(field("largest", "the patch of the largest norm: image, token, name"), x.largest);
  v(field("high",
          "how many patches have a norm above {high_patch_norm} (norms differ from model to model, so the "
          "median stands beside)",
          "arXiv 2309.16588, for DINOv2-g")
        .from(0),
    x.high);
  v(field("count", "how many patches there are").from(1), x.count);
}

template <typename V>
void fields(V& v, Norms& x) {
  v(field("cls", "of CLS, over images"), x.cls);
  v(field("registers", "of registers, where the model has some, over images and registers"), x.registers);
  v(field("patches", "of patches, over images and patches"), x.patches);
}

template <typename V>
void fields(V& v, ExpertInput& x) {
  v(kExpertField, x.expert);
  v(field("tokens", "how many tokens passed the expert").from(0), x.tokens);
  v(field("down_in_max",
          "the largest abs x at the input of its down projection, by which super experts are known",
          "arXiv 2507.23279")
        .from(0),
    x.down_in_max);
  v(field("down_out_max", "the largest abs x at its output, before the router's weight").from(0),
    x.down_out_max);
}

template <typename V>
void fields(V& v, Rounding& x) {
  v(field(
        "relative_error",
        "||x - q(x)|| / ||x|| of the rounded values q(x), over all of it; 0 where x is. Every sequence of an "
        "input and every matrix is a tensor of its own",
        "arXiv 2602.02047")
        .from(0),
    x.relative_error);
  v(field("flushed", "share of the values other than 0 that become 0").from(0).to(1), x.flushed);
  v(field("worst_blocks",
          "share of the squared error that is in the 0.1 % of blocks with the largest, one at least: the "
          "format's blocks, or 32 values along the input dimension where it has none",
          "arXiv 2602.02047")
        .from(0)
        .to(1),
    x.worst_blocks);
}

template <typename V>
void fields(V& v, Rounded& x) {
  v(field("formats", "by number format").named(kScaledFormats), x.formats);
}

template <typename V>
void fields(V& v, LayerInput& x) {
  v(field("resid_out", "the residual stream after the layer"), x.resid_out);
  v(field("down_in",
          "what down_proj reads; in a layer of experts the inputs of the down projections of all experts "
          "that a token passes, the shared one among them"),
    x.down_in);
  v(field("attention", "how much probability each key receives"), x.attention);
  v(field("writes", "of prompts: who made the largest value, and who changed the one of the layer before"),
    x.writes);
  v(field("norms", "of images: L2 norms of the tokens' resid_out"), x.norms);
  v(field("experts", "in a layer of experts: those that a token of the input chose").or_left_out(),
    x.experts);
  v(field("amax",
          "by point, in the order of computation: the largest abs x of those that are finite, and where it "
          "stands; resid_in of layer 0 alone, as elsewhere it is what the layer before gave. attn_logits are "
          "of the keys that a query sees, after scale and soft-cap")
        .or_left_out(),
    x.amax);
  v(field("rounding",
          "what number formats lose of what linear layers read: attn_norm_out by q, k and v, o_in by o, "
          "mlp_norm_out by gate and up, down_in by down; experts.down_in by every expert that a token passes")
        .or_left_out(),
    x.rounding);
  v(field(
        "residual_sinks",
        "channels of what the layer reads whose abs x is above {residual_sink_rms} x the root mean square of "
        "its token in at least {residual_sink_share} of the tokens",
        "arXiv 2601.22966")
        .or_left_out(),
    x.residual_sinks);
  v(field("values", "what other measures give, by name; definitions has each by this path and its name")
        .or_left_out(),
    x.values);
}

template <typename V>
void fields(V& v, ColumnLine& x) {
  v(field("column").from(0), x.column);
  v(field("ratio", "max/mean of abs W in the column").from(0), x.ratio);
  v(field("row", "where its largest entry stands").from(0), x.row);
  v(field("value", "that entry"), x.value);
}

template <typename V>
void fields(V& v, RowLine& x) {
  v(field("row").from(0), x.row);
  v(field("ratio", "max/mean of abs W in the row").from(0), x.ratio);
  v(field("column", "where its largest entry stands").from(0), x.column);
  v(field("value", "that entry"), x.value);
}

template <typename V>
void fields(V& v, MatrixScore& x) {
  v(field("score", "the largest max/mean of abs W over all rows and all columns",
          "arXiv 2502.06415, section 3.2")
        .from(0),
    x.score);
  v(field("axis", "whether it is of a row or a column"), x.axis);
  v(field("index", "which row or column that is").from(0), x.index);
  v(field("max", "the largest abs W").from(0), x.max);
  v(field("mean", "the mean of abs W").from(0), x.mean);
  v(field("median", "the median of abs W, exact").from(0), x.median);
  v(field("kurtosis_pearson", "E(w-mu)^4 / std^4 over all entries, no epsilon").from(0), x.kurtosis_pearson);
  v(field("nonfinite", "how many entries are NaN or infinite; they are left out").from(0), x.nonfinite);
}

template <typename V>
void fields(V& v, Weight& x) {
  fields(v, static_cast<MatrixScore&>(x));
  v(field("top_columns",
          "the columns with the largest max/mean: W is [out, in], a column is an input channel of the "
          "projection"),
    x.top_columns);
  v(field("top_rows", "the rows with the largest max/mean: a row is an output channel"), x.top_rows);
  v(field("expert", "in a layer of experts: whose it is, the one with the largest score"), x.expert);
}

template <typename V>
void fields(V& v, ExpertWeights& x) {
  v(kExpertField, x.expert);
  v(field("modules", "its matrices, without lists of lines").named(kExpertModules), x.modules);
}

template <typename V>
void fields(V& v, Weights& x) {
  v(field("modules", "the projections' matrices; no gate where the MLP has none").named(kModules), x.modules);
  v(field("router", "in a layer of experts: the router's matrix [E, D]; a row is an expert"), x.router);
  v(field("experts", "in a layer of experts: those that were read, which a token chose, and the shared one")
        .or_left_out(),
    x.experts);
}

template <typename V>
void fields(V& v, Layer& x) {
  v(field("layer").from(0), x.layer);
  v(field("weights", "its matrices"), x.weights);
  v(field(
        "rounding",
        "what number formats lose of its projections' matrices; in a layer of experts of all that were read, "
        "together")
        .named(kModules)
        .or_left_out(),
    x.rounding);
  v(field("collinearity", "how much its up and down projections agree: a prediction of spikes without data",
          "arXiv 2511.23225"),
    x.collinearity);
  v(field("inputs", "what was measured on each input, by the input's name"), x.inputs);
}

}  // namespace outliers::results
