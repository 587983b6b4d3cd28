// Of the table of fields (fields.h): super weights.
#pragma once

#include "outliers/results/field.h"
#include "outliers/results/super_weights.h"

namespace outliers::results {

template <typename V>
void fields(V& v, SuperWeight& x) {
  v(field("round",
          "the run of the input in which it was found, from 1: those of the rounds before are zero in it")
        .from(1),
    x.round);
  v(field("layer", "the first whose down projection gives an abs value above {super_weight_spike}",
          "arXiv 2411.07191, section 3.1")
        .from(0),
    x.layer);
  v(kExpertField, x.expert);
  v(field("row", "the channel of the largest abs output of that down projection").from(0), x.row);
  v(field("column", "the neuron with the largest abs input at its token").from(0), x.column);
  v(field("value", "W_down[row, column], of the stored matrix"), x.value);
  v(field("token", "where in the input the spikes are").from(0), x.token);
  v(field("down_in", "what the projection reads there in the column"), x.down_in);
  v(field("down_out", "what it gives there in the row; of an expert before the router's weight"), x.down_out);
}

template <typename V>
void fields(V& v, Spike& x) {
  v(field("layer").from(0), x.layer);
  v(kExpertField, x.expert);
  v(kTokenField, x.token);
  v(field("channel").from(0), x.channel);
  v(field("down_out", "the value, signed"), x.down_out);
}

template <typename V>
void fields(V& v, SuperWeights& x) {
  v(field("input", "the prompt, or image, on which they were looked for"), x.input);
  v(field("found",
          "in the order of rounds: each is set to zero, and the next is looked for, until no down projection "
          "gives more than {super_weight_spike} or 16 are found",
          "arXiv 2411.07191, section 3.1"),
    x.found);
  v(field("left", "the largest abs output of any down projection with all of them zero"), x.left);
}

template <typename V>
void fields(V& v, RandomWeight& x) {
  v(field("seed",
          "by which the entry is drawn, the N of random=N in edits: of the i-th super weight, from 0, 20 i + "
          "1 to 20 i + 20; of all together s stands for the seeds 20 i + s")
        .from(1),
    x.seed);
  v(field("log10_ppl_ratio", "log10(perplexity without it / perplexity with it)"), x.log10_ppl_ratio);
}

template <typename V>
void fields(V& v, Damage& x) {
  v(field("log10_ppl_ratio", "log10(perplexity without / perplexity with)", "arXiv 2607.08733"),
    x.log10_ppl_ratio);
  v(field("standard_error", "of that over windows, each compared with itself; not there for one window")
        .from(0),
    x.standard_error);
  v(field("controls",
          "the same without entries that are drawn at random in the same matrices, one for each weight: each "
          "entry with another row and another column is as likely"),
    x.controls);
}

template <typename V>
void fields(V& v, Criticality& x) {
  v(field("input", "the corpus"), x.input);
  v(field("tokens_scored", "all tokens of its sequences but each one's first").from(1), x.tokens_scored);
  v(field("nll_nats", "of the model as it is: mean of -ln p(token | tokens of its sequence before it)"),
    x.nll_nats);
  v(field("ppl", "perplexity: exp(nll_nats)").from(0), x.ppl);
  v(field("weights", "without each of super_weights.found, in their order").not_empty(), x.weights);
  v(field("together", "without all of them, where there are several"), x.together);
}

}  // namespace outliers::results
