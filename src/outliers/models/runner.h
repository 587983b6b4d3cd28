// Layer-major forward pass: all batches pass layer l before layer l+1 is loaded, so each weight byte is read
// once and only one or two layers and the hidden states are in memory. Observers see the points they ask for
// while they exist.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/spill.h"
#include "outliers/models/model.h"
#include "outliers/models/points.h"
#include "outliers/ops/attention.h"

namespace outliers::models {

/// Sequences of one length that are run together.
struct Batch {
  std::string name;        ///< "prompt", "corpus"
  at::Tensor ids;          ///< int64 [B,T], CPU; of images the numbers of their tokens
  at::Tensor pixels = {};  ///< [B,C,H,W] for models of images (models/image_embedding.h), else undefined
};

/// Where in the run a tensor belongs: sequences [first_sequence, first_sequence + x.size(0)) of
/// batches[batch].
struct Slice {
  size_t batch;
  int64_t first_sequence;
};

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
class Observer {
 public:
  virtual ~Observer() = default;
  /// Asked before a layer is computed. attn_logits and attn_probs are formed (T x T) only where wanted.
  virtual bool wants(const Site& site, size_t batch) const = 0;
  virtual bool wants_attention_sums(int64_t layer, size_t batch) const {
    (void)layer;
    (void)batch;
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
  /// One call a matrix, before the layer runs; an expert's when the first token chooses it, never where none
  /// does.
  virtual void on_weight(int64_t layer, const LayerWeight& weight) {
    (void)layer;
    (void)weight;
  }
  virtual void on_layer_end(int64_t layer) { (void)layer; }

  /// Asked before the run where memory is limited. chunk_tokens: as in RunOptions.
  virtual ObserverMemory memory(const std::vector<Batch>& batches, at::ScalarType dtype,
                                int64_t chunk_tokens) const {
    (void)batches;
    (void)dtype;
    (void)chunk_tokens;
    return {};
  }
  /// Where memory is short: until the run ends, what is spillable is to be kept here.
  virtual void spill_to(Spill& spill) { (void)spill; }
};

/// As options and results.json call it: "float32".
const char* dtype_name(at::ScalarType dtype);

struct RunOptions {
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  /// Tokens computed at a time within a layer, in whole sequences (at least one): bounds the memory of
  /// activations.
  int64_t chunk_tokens = 2048;
  bool logits = false;  ///< compute final_norm_out and, where an observer wants them, logits
  int64_t layers = -1;  ///< stop after this many layers; -1 = all; fewer than all cannot have logits
  /// Resident bytes that the whole process may take, 0: any number. Chunks may become smaller, and hidden
  /// states and what observers keep go to disk where they must (models/memory_plan.h).
  uint64_t memory_limit = 0;
  std::filesystem::path spill_directory;  ///< where they go; empty: the system's temporary directory
};

struct RunTimes {
  double load_seconds = 0;           ///< reading and dequantising weights
  double first_product_seconds = 0;  ///< from process start to the end of the first projection of layer 0
  double forward_seconds = 0;        ///< everything but load and observers
  double observer_seconds = 0;       ///< inside Observer calls
  uint64_t weight_bytes_read = 0;    ///< of the checkpoint's tensors, as stored
  uint64_t spilled_bytes = 0;        ///< written to disk for lack of memory
};

/// Runs the batches through the model and calls the observers in layer order; within a layer batch by batch,
/// within a batch in order of sequences. Tensors shown are never written to afterwards while an observer
/// holds them. dtype: float32, bfloat16, float16 or float64. Throws for ids outside the vocabulary, for a
/// memory limit that is too small, for a disk without room for what it has to take, and Interrupted.
RunTimes run(const Model& model, const std::vector<Batch>& batches, const std::vector<Observer*>& observers,
             const RunOptions& options);

}  // namespace outliers::models
