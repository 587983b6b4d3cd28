// The thresholds of all definitions, each stated here and nowhere else. results.json holds those of its run
// as numbers; figures and pages read them there.
#pragma once

#include <cstdint>

namespace outliers {

struct Criteria {
  /// Massive activation: abs x > this, and > massive_ratio x the median of abs x over the layer (Sun et al.,
  /// arXiv 2402.17762).
  double massive_above = 100, massive_ratio = 1000;
  /// Outlier token: max over channels of abs x > this x mean of abs x (arXiv 2502.06415, section 3.2).
  double outlier_token_ratio = 1000;
  /// Outlier key: score >= this x tokens of the sequence (arXiv 2502.06415, section 3.3).
  double outlier_key_share = 0.1;
  /// Sink of the first key: its mean probability over the first sink_queries queries is above this (Gu et
  /// al., arXiv 2410.10781, Sink_1).
  double sink_epsilon = 0.3;
  int64_t sink_queries = 64;
  /// High norm of a patch in the last layer's output (Darcet et al., arXiv 2309.16588, for DINOv2-g).
  double high_patch_norm = 150;
  /// An outlier is found where max/median of a layer's output reaches this: ordinary layers of language
  /// models stay below 50.
  double found_ratio = 100;
  /// The outlier is removed where the max stays below this part of the peak's.
  double removed_share = 0.5;
  /// A layer steps an outlier up or down where it changes its abs value by this part of the peak's.
  double step_share = 0.1;
  /// A down projection's output above this shows a super weight (Yu et al., arXiv 2411.07191, section 3.1).
  double super_weight_spike = 50;
  /// Residual sink: a channel with abs x above residual_sink_rms x the root mean square of its token in at
  /// least residual_sink_share of the tokens (after Qiu et al., arXiv 2601.22966, who give no numbers).
  double residual_sink_rms = 6, residual_sink_share = 0.5;
  /// Outlier feature: abs x >= int8_magnitude in at least these parts of layers and tokens (Dettmers et al.,
  /// arXiv 2208.07339, section 3).
  double int8_magnitude = 6, int8_layer_share = 0.25, int8_token_share = 0.06;
  /// Super expert: largest output above this quantile of all experts', and above this part of the largest (Su
  /// et al., arXiv 2507.23279).
  double super_expert_quantile = 0.995, super_expert_share = 0.1;
  /// Our own: published thresholds of inactive heads differ from model to model.
  double dormant_head_mass = 0.9, dead_head_share = 0.05;
  /// Largest values of number formats, and steps of a symmetric int8 scale on one side of zero.
  double fp16_max = 65504, fp8_e4m3_max = 448, int8_steps = 127;
  /// An int8 step of more medians than this rounds a median value to zero.
  double int8_zero_step = 2;
};

}  // namespace outliers
