// What a run shows, and to whom.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"
#include "outliers/ops/attention.h"
#include "outliers/run/input.h"
#include "outliers/run/points.h"

namespace outliers {
class Spill;
}

namespace outliers::run {

/// What LayerWeight::expert says of a matrix that is no numbered expert's.
inline constexpr int64_t kNoExpert = -1, kSharedExpert = -2;

/// One projection matrix of a layer, by the names results.json uses.
struct LayerWeight {
  std::string module;  ///< "q", "k", "v", "o", "router", "gate", "up", "down"
  at::Tensor tensor;   ///< [out, in], compute dtype, on the run's device
  int64_t expert = kNoExpert;
};

/// What an observer takes, in bytes, beside the tensors while it is shown them.
struct ObserverMemory {
  uint64_t held = 0;       ///< at most, from layer to layer and for a moment
  uint64_t spillable = 0;  ///< of one layer's tensors, until it ends; on disk after spill_to()
  uint64_t on_disk = 0;    ///< what they take there, with those that are in memory anyway otherwise
  uint64_t at_end = 0;     ///< beside `held`, when the run is over and its weights are gone
};

/// What a run shows. Tensors live on the run's device; keep a reference to retain one, never write into it.
class OUTLIERS_API Observer {
 public:
  virtual ~Observer() = default;
  /// Asked before a layer is computed. attn_logits and attn_probs are formed (T x T) only where wanted.
  virtual bool wants(const Site& site, size_t input) const = 0;
  virtual bool wants_attention_sums(int64_t layer, size_t input) const {
    (void)layer;
    (void)input;
    return false;
  }
  virtual bool wants_weights(int64_t layer) const {
    (void)layer;
    return false;
  }
  virtual void on_point(const Site& site, const Slice& slice, const at::Tensor& x) {
    (void)site;
    (void)slice;
    (void)x;
  }
  virtual void on_attention_sums(int64_t layer, const Slice& slice, const ops::AttentionSums& sums) {
    (void)layer;
    (void)slice;
    (void)sums;
  }
  /// One call a matrix, as the checkpoint has it, before the layer runs; an expert's when the first token
  /// chooses it, never where none does.
  virtual void on_weight(int64_t layer, const LayerWeight& weight) {
    (void)layer;
    (void)weight;
  }
  virtual void on_layer_end(int64_t layer) { (void)layer; }

  /// Asked before the run where memory is limited. chunk_tokens: as in RunOptions.
  virtual ObserverMemory memory(const std::vector<Input>& inputs, at::ScalarType dtype,
                                int64_t chunk_tokens) const {
    (void)inputs;
    (void)dtype;
    (void)chunk_tokens;
    return {};
  }
  /// Where memory is short: until the run ends, what is spillable is to be kept here (core/spill.h).
  virtual void spill_to(Spill& spill) { (void)spill; }
};

}  // namespace outliers::run
