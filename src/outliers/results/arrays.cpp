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
      {"resid_out", Of::prompt, "L K D", "the activations themselves, signed", "prompt_values"},
      {"down_in", Of::prompt, "L K F",
       "the same; in a layer of experts, of each neuron the value that is largest by abs in any of the "
       "token's experts",
       "prompt_values"},
      {"attention.probs", Of::prompt_with_maps, "L H T T", "attention probabilities, query by key",
       "attention_maps"},
      {"attention.probs_mean", Of::prompt_with_maps, "L T T", "their mean over heads", "attention_maps"},
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
