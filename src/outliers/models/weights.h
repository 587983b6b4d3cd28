// Which stored tensor is which weight of the model: the family's table resolved against one checkpoint.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "outliers/io/adapter.h"
#include "outliers/io/checkpoint.h"
#include "outliers/models/families.h"

namespace outliers::models {

/// One weight by our name.
struct StoredWeight {
  std::string name;                 ///< ours: "layer.3.q.weight"
  std::vector<std::string> stored;  ///< one tensor, or the rows of ours
  std::vector<int64_t> shape;       ///< of ours
  Transform transform;
  bool of_experts = false;  ///< [E, ...]: loaded by expert
};

class WeightMap {
 public:
  /// Throws one Error that lists every missing, unknown and wrongly shaped tensor (the first few of each).
  WeightMap(const Family& family, const Config& config, const io::Checkpoint& checkpoint);

  /// In the order of the table, layer by layer.
  const std::vector<StoredWeight>& all() const { return weights_; }
  /// nullptr when the model has no such weight.
  const StoredWeight* find(const std::string& name) const;

 private:
  std::vector<StoredWeight> weights_;
  std::unordered_map<std::string, size_t> index_;
};

/// What an adapter must know of the modules of a Hugging Face checkpoint.
io::AdapterBase adapter_base(const Family& family, const Config& config, const io::Checkpoint& checkpoint);
/// Settles by the checkpoint's tensors whether the head is the embedding, a matrix of its own or missing,
/// sets tied_embeddings and missing_head, and warns where a head is stored that differs from the embedding
/// although the configuration has them as one: the stored one is used, as in transformers. Reads the two only
/// then.
void settle_head(const Family& family, Config& config, const io::Checkpoint& checkpoint);

/// The sizes of a symbolic shape: "[H*d + 2*Hk*d, D]" -> {1152, 896}. D, H, Hk, d, F, V, numbers, and: De
/// embedding width, P positions, E experts, k of a token, Fe and Fs neurons of one and of the shared one; of
/// images C channels, ph x pw pixels of a patch, R registers. Shapes of points have B sequences of T tokens.
std::vector<int64_t> resolve_shape(const std::string& symbolic, const Config& config, int64_t B = 0,
                                   int64_t T = 0);

}  // namespace outliers::models
