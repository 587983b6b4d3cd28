// Of the table of fields (fields.h): the life cycle.
#pragma once

#include "outliers/results/fields_measured.h"
#include "outliers/results/lifecycle.h"

namespace outliers::results {

inline constexpr const char* kChoices[] = {"token", "channel", "born", "neuron", "removed", "spread", "head"};

template <typename V>
void fields(V& v, LayerContributions& x) {
  v(field("layer").from(0), x.layer);
  v(field("heads", "what each head adds: its part of o_in times its columns of the output projection"),
    x.heads);
  v(field("attention_bias", "what the bias of the output projection adds"), x.attention_bias);
  v(field("neurons", "the neurons that add most by abs"), x.neurons);
  v(field("other_neurons", "the sum of all others"), x.other_neurons);
  v(field("mlp_bias", "what the biases of the down projections add"), x.mlp_bias);
  v(field("norm", "what norms of the residual itself change, where the model has them"), x.norm);
  v(field("resid_out", "the value after the layer"), x.resid_out);
}

template <typename V>
void fields(V& v, Contributions& x) {
  v(field("layer", "the layer after whose output it is told").from(0), x.layer);
  v(kTokenField, x.token);
  v(field("channel").from(0), x.channel);
  v(field("embedding", "the value that layer 0 reads"), x.embedding);
  v(field("layers", "what each layer adds, in units of the residual, norms and LayerScale after it included"),
    x.layers);
  v(field("sum", "the embedding and all parts of all layers"), x.sum);
  v(field("residual", "the value that resid_out has"), x.residual);
}

template <typename V>
void fields(V& v, ChannelProduct& x) {
  v(field("channel").from(0), x.channel);
  v(field("input", "mlp_norm_out at the channel"), x.input);
  v(field("weight", "W[neuron, channel]"), x.weight);
  v(field("product", "input x weight"), x.product);
}

template <typename V>
void fields(V& v, Drive& x) {
  v(field("module").among(kDriving), x.module);
  v(field("value", "gate_out or up_out of the neuron at the token"), x.value);
  v(field("channels", "the channels that give most of it by abs"), x.channels);
  v(field("other_channels", "the sum of all others"), x.other_channels);
  v(field("bias", "value less all products: the bias, and what rounding leaves"), x.bias);
}

template <typename V>
void fields(V& v, NeuronToken& x) {
  v(kTokenField, x.token);
  v(field("down_in"), x.down_in);
}

template <typename V>
void fields(V& v, DrivenNeuron& x) {
  fields(v, static_cast<Neuron&>(x));
  v(field("gate_out", "not there without a gate"), x.gate_out);
  v(field("act_out"), x.act_out);
  v(field("up_out"), x.up_out);
  v(field("drives", "what its projections read"), x.drives);
  v(field("tokens", "tokens of the prompt with its largest down_in by abs"), x.tokens);
}

template <typename V>
void fields(V& v, Disappearance& x) {
  v(field("first_layer", "the first layer after the peak that steps down").from(0), x.first_layer);
  v(field("last_layer", "the last one").from(0), x.last_layer);
  v(field("before", "the value that enters first_layer"), x.before);
  v(field("after", "the value that leaves last_layer"), x.after);
  v(field("sum", "all parts of these layers"), x.sum);
  v(field("cancelled", "-sum / before: 1 takes it away exactly"), x.cancelled);
  v(field("layers", "as in emergence"), x.layers);
}

template <typename V>
void fields(V& v, Episode& x) {
  v(kTokenField, x.token);
  v(field("channel").from(0), x.channel);
  v(kTokenTextField, x.token_text);
  v(kClassField, x.token_class);
  v(field("born_layer",
          "the layer whose abs value is the largest multiple of the one before, where less than {step_share} "
          "of the peak counts as that")
        .from(0),
    x.born_layer);
  v(field("peak_layer", "the layer of its largest abs value").from(0), x.peak_layer);
  v(field(
        "removed_layer",
        "the first layer after the peak whose value is below {removed_share} of the peak; null where none is")
        .from(0)
        .or_null(),
    x.removed_layer);
  v(field("peak", "the value there, signed"), x.peak);
  v(field("step_up", "layers that raise its abs value by at least {step_share} of the peak",
          "compare arXiv 2603.05498, step-up block"),
    x.step_up);
  v(field("step_down", "layers that lower it by as much", "compare arXiv 2603.05498, step-down block"),
    x.step_down);
}

template <typename V>
void fields(V& v, Choice& x) {
  v(field("what").among(kChoices), x.what);
  v(field("number").from(0), x.number);
  v(field("why"), x.why);
}

template <typename V>
void fields(V& v, LayerSpread& x) {
  v(field("layer").from(0), x.layer);
  v(field("tokens",
          "outlier tokens of its resid_in: max over channels of abs x > {outlier_token_ratio} x mean "
          "of abs x",
          "arXiv 2502.06415, section 3.2"),
    x.tokens);
  v(field("cosine_outlier",
          "cosine of queries with the keys of outlier tokens, after rotary; mean over all "
          "pairs that the mask lets see each other",
          "arXiv 2502.06415, section 4"),
    x.cosine_outlier);
  v(field("cosine_other", "the same with all other keys"), x.cosine_other);
  v(field("margin",
          "the largest of attn_logits among outlier tokens less the largest among others; mean over "
          "queries that see both"),
    x.margin);
  v(field("probability", "what these queries give to outlier tokens together, mean").from(0), x.probability);
  v(field("value_ratio", "mean norm of outlier tokens' values over the mean of all others'",
          "arXiv 2410.13835")
        .from(0),
    x.value_ratio);
  v(field("output_share",
          "norm of what outlier tokens' values bring to o_in over the sum of that norm and the "
          "norm of what others bring; mean over these queries")
        .from(0)
        .to(1),
    x.output_share);
}

template <typename V>
void fields(V& v, PromptLife& x) {
  v(field("input", "the prompt"), x.input);
  v(field("episodes",
          "each value that is the largest of a layer where max/median reaches {found_ratio}, while "
          "it is above that; in the order of birth"),
    x.episodes);
  v(field("chosen", "what is looked at below, and why"), x.chosen);
  v(field("emergence", "the chosen value at the output of the layer of birth, part by part"), x.emergence);
  v(field("neurons", "how the neurons that write it come to their values"), x.neurons);
  v(field("spread", "what outlier tokens do in attention, by layer; only layers that have some"), x.spread);
  v(field("disappearance", "which parts take it away"), x.disappearance);
}

template <typename V>
void fields(V& v, Constancy& x) {
  v(field("layer").from(0), x.layer);
  v(field("tokens", "outlier tokens of resid_in, of the prompts and of windows of the corpus").from(2),
    x.tokens);
  v(field("cosine", "of their attn_norm_out, mean over all pairs", "arXiv 2606.02288"), x.cosine);
}

template <typename V>
void fields(V& v, Lifecycle& x) {
  v(field("prompts", "one a prompt"), x.prompts);
  v(field("constancy",
          "whether outlier tokens are all alike after the norm of attention; layers with two or more"),
    x.constancy);
}

}  // namespace outliers::results
