// Of the table of fields (fields.h): what stands out by the definitions of papers.
#pragma once

#include "outliers/results/features.h"
#include "outliers/results/field.h"

namespace outliers::results {

template <typename V>
void fields(V& v, ResidualSink& x) {
  v(field("channel").from(0), x.channel);
  v(field("share",
          "share of tokens where abs x is above {residual_sink_rms} x the root mean square of the token",
          "arXiv 2601.22966")
        .from(0)
        .to(1),
    x.share);
  v(field("rms", "root mean square of x over that of its token").from(0), x.rms);
  v(field("gain",
          "root mean square of the attention norm's output there over rms: of an RMSNorm abs its weight; not "
          "there where no norm stands before attention",
          "arXiv 2601.22966")
        .from(0),
    x.gain);
}

template <typename V>
void fields(V& v, Int8Outlier& x) {
  v(field("channel").from(0), x.channel);
  v(field("layer_share", "share of the layers where any abs x is at least {int8_magnitude}").from(0).to(1),
    x.layer_share);
  v(field("token_share", "share of the tokens, over all layers and both points, where it is").from(0).to(1),
    x.token_share);
}

template <typename V>
void fields(V& v, Collinearity& x) {
  v(field(
        "value",
        "the largest s_i abs(w_k . u_i): W_up = sum_i s_i u_i v_i^T by singular values, w_k row k of W_down",
        "arXiv 2511.23225")
        .from(0),
    x.value);
  v(field("channel", "k, the channel that it writes to").from(0), x.channel);
  v(field("rank", "i, from 0 for the largest singular value").from(0), x.rank);
  v(field("singular_value", "s_i of that product").from(0), x.singular_value);
  v(kExpertField, x.expert);
}

template <typename V>
void fields(V& v, LayerAxes& x) {
  v(field("layer").from(0), x.layer);
  v(field("spike", "max/median of abs x at resid_out").from(0).or_null(), x.spike);
  v(field("sink", "mean over heads of sink_rate").from(0).to(1).or_null(), x.sink);
  v(field("drain", "mean over heads of drain_first_token").from(0).or_null(), x.drain);
}

template <typename V>
void fields(V& v, Axes& x) {
  v(field("input", "what it is of: the first corpus, else the first prompt"), x.input);
  v(field("layers", "one object a layer that the summary tells of"), x.layers);
}

template <typename V>
void fields(V& v, SecondarySink& x) {
  v(field("input"), x.input);
  v(kSequenceField, x.sequence);
  v(field("key", "its place in the sequence").from(0), x.key);
  v(kTokenTextField, x.token_text);
  v(kClassField, x.token_class);
  v(field("first_layer", "the first layer where it is an outlier key").from(0), x.first_layer);
  v(field("last_layer", "the last").from(0), x.last_layer);
  v(field("score", "its largest score, over the number of tokens").from(0), x.score);
}

template <typename V>
void fields(V& v, SecondarySinks& x) {
  v(field("count", "how many there are, of all inputs").from(0), x.count);
  v(field("largest", "those with the largest scores"), x.largest);
}

template <typename V>
void fields(V& v, SuperExpert& x) {
  v(field("layer").from(0), x.layer);
  v(kExpertField, x.expert);
  v(field("down_out_max", "the largest abs x at its output").from(0), x.down_out_max);
  v(field("input", "where it was seen"), x.input);
}

template <typename V>
void fields(V& v, InactiveHead& x) {
  v(field("layer").from(0), x.layer);
  v(field("head").from(0), x.head);
  v(field("dead", "whether it is dead; else it is dormant"), x.dead);
  v(field("output_share", "as in values").from(0), x.output_share);
  v(field("first_key_mass", "as in values").from(0).to(1.001), x.first_key_mass);
}

template <typename V>
void fields(V& v, InactiveHeads& x) {
  v(field("input", "what it is of: the first corpus, else the first prompt"), x.input);
  v(field("heads", "how many heads there are in all layers that the summary tells of").from(0), x.heads);
  v(field("dormant",
          "how many give the first key a first_key_mass above {dormant_head_mass} (a threshold of this "
          "program: "
          "published ones differ from model to model)",
          "arXiv 2410.13835")
        .from(0),
    x.dormant);
  v(field("dead", "how many have an output_share below {dead_head_share} (a threshold of this program, too)",
          "arXiv 2504.03889")
        .from(0),
    x.dead);
  v(field("list", "these heads"), x.list);
}

template <typename V>
void fields(V& v, VocabularyToken& x) {
  v(field("id", "its number in the vocabulary").from(0), x.id);
  v(kTokenTextField, x.token_text);
  v(field("layer", "the layer in whose output its largest abs x is").from(0), x.layer);
  v(field("channel", "the channel of that").from(0), x.channel);
  v(field("max", "that value").from(0), x.max);
}

template <typename V>
void fields(V& v, LayerSpikes& x) {
  v(field("layer").from(0), x.layer);
  v(field("share", "share of the tokens that spike in its output").from(0).to(1), x.share);
}

template <typename V>
void fields(V& v, VocabularySpikes& x) {
  v(field("tokens", "how many ids there are").from(1), x.tokens);
  v(field(
        "spiking",
        "how many of them, each alone in a sequence and without a BOS, have in any layer's output an abs x > "
        "{massive_above} and > {found_ratio} x the median of abs x over their channels",
        "arXiv 2603.05498")
        .from(0),
    x.spiking);
  v(field("share", "their share of all").from(0).to(1), x.share);
  v(field("channel", "the channel where most of them have their largest abs x").from(0), x.channel);
  v(field("layers", "one object a layer"), x.layers);
  v(field(
        "exceptions",
        "where most spike some that do not, else some that do: those with the least and the largest values"),
    x.exceptions);
}

}  // namespace outliers::results
