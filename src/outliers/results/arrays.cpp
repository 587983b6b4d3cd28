#include "outliers/results/field.h"

namespace outliers::results {

std::span<const ArrayField> array_table() {
  using Of = ArrayField::Of;
  static constexpr ArrayField table[] = {
      {"ids", Of::corpus, "N T", "the windows' tokens; of images the tokens' numbers; int64", ""},
      {"resid_out.channel_max", Of::input, "L D", "largest abs x by channel", "activations"},
      {"resid_out.token_max", Of::input, "L N T", "largest abs x by token", "activations"},
      {"down_in.channel_max", Of::input, "L F", "the same of down_in, in a layer of experts over all of them",
       "activations"},
      {"down_in.token_max", Of::input, "L N T", "the same by token", "activations"},
      {"resid_out.token_norm", Of::images, "L N T", "L2 norm of every token", "norms"},
      {"attention.key_scores", Of::input, "L N T", "score of every key", "attention"},
      {"o_in.variance", Of::input, "L T",
       "variance of what attention mixes, by position: over a head's channels; mean over heads and sequences",
       "positions"},
      {"resid_out", Of::prompt, "L K D", "the activations themselves, signed", "prompt_values"},
      {"down_in", Of::prompt, "L K F",
       "the same; in a layer of experts, of each neuron the value that is largest by abs in any of the "
       "token's experts",
       "prompt_values"},
      {"attention.probs", Of::prompt_with_maps, "L H T T", "attention probabilities, query by key",
       "attention_maps"},
      {"attention.probs_mean", Of::prompt_with_maps, "L T T", "their mean over heads", "attention_maps"},
      {"life.born.resid_mid", Of::prompt_born, "J D",
       "first tokens of the layer of birth: what its MLP adds to", ""},
      {"life.born.mlp_norm_out", Of::prompt_born, "J D", "what gate and up read", ""},
      {"life.born.gate_out", Of::prompt_born, "J F",
       "of the neuron's MLP; zeros where a token does not pass its expert; not there without a gate", ""},
      {"life.born.act_out", Of::prompt_born, "J F", "the same", ""},
      {"life.born.up_out", Of::prompt_born, "J F", "the same", ""},
      {"life.born.down_in", Of::prompt_born, "J F", "the same", ""},
      {"life.born.down_out", Of::prompt_born, "J D", "what the MLP gives", ""},
      {"life.born.resid_out", Of::prompt_born, "J D", "the layer's output", ""},
      {"life.born.neurons", Of::prompt_born, "7",
       "the first three neurons, the chosen one with its neighbours, and the last; -1 marks an unused place; "
       "int64",
       ""},
      {"life.born.gate_rows", Of::prompt_born, "7 D", "their rows of gate_proj; not there without a gate",
       ""},
      {"life.born.up_rows", Of::prompt_born, "7 D", "of up_proj", ""},
      {"life.born.down_columns", Of::prompt_born, "7 D", "their columns of down_proj", ""},
      {"life.removed.resid_mid", Of::prompt_removed, "J D", "the same of the layer of removal", ""},
      {"life.removed.mlp_norm_out", Of::prompt_removed, "J D", "the same", ""},
      {"life.removed.gate_out", Of::prompt_removed, "J F", "the same", ""},
      {"life.removed.act_out", Of::prompt_removed, "J F", "the same", ""},
      {"life.removed.up_out", Of::prompt_removed, "J F", "the same", ""},
      {"life.removed.down_in", Of::prompt_removed, "J F", "the same", ""},
      {"life.removed.down_out", Of::prompt_removed, "J D", "the same", ""},
      {"life.removed.resid_out", Of::prompt_removed, "J D", "the same", ""},
      {"life.removed.neurons", Of::prompt_removed, "7", "the same", ""},
      {"life.removed.gate_rows", Of::prompt_removed, "7 D", "the same", ""},
      {"life.removed.up_rows", Of::prompt_removed, "7 D", "the same", ""},
      {"life.removed.down_columns", Of::prompt_removed, "7 D", "the same", ""},
      {"life.spread.resid_in", Of::prompt_spread, "J D", "first tokens of the layer of spread: its input",
       ""},
      {"life.spread.attn_norm_out", Of::prompt_spread, "J D", "what q, k and v read", ""},
      {"life.spread.query", Of::prompt_spread, "J d", "of the chosen head, as the point query", ""},
      {"life.spread.key", Of::prompt_spread, "J d", "of its head of keys", ""},
      {"life.spread.value", Of::prompt_spread, "J d", "of the same", ""},
      {"life.spread.attn_logits", Of::prompt_spread, "J J", "of the head; -inf where a query sees no key",
       ""},
      {"life.spread.attn_probs", Of::prompt_spread, "J J", "of the head", ""},
      {"weights.down.columns", Of::model, "L 13 D",
       "columns of down_proj (of the expert in modules.down): the first three, the top three with their "
       "neighbours, the last",
       "weights"},
      {"weights.down.column_index", Of::model, "L 13",
       "which columns these are; -1 marks an unused place; int64", "weights"},
  };
  return table;
}

}  // namespace outliers::results
