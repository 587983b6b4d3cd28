// The tensors of a LoRA adapter by what they are for, as PEFT of all versions names them.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "outliers/io/checkpoint.h"

namespace outliers::io {

/// What the adapter has for one module of the model.
struct AdapterModule {
  const TensorInfo *a = nullptr, *b = nullptr, *bias_of_b = nullptr, *magnitude = nullptr, *tokens = nullptr;
  bool embedding = false;
  std::map<std::string, const TensorInfo*> base;  ///< base_layer's, by "weight" and "bias"
};

/// A name is base_model.model.MODULE.PART, and a part may have the adapter's own name in it: lora_A.weight,
/// lora_A.default.weight.
struct AdapterContents {
  std::map<std::string, AdapterModule> modules;
  std::vector<std::pair<std::string, const TensorInfo*>> plain;  ///< under the base's names
  std::vector<std::string> unknown;
  std::set<std::string> adapters;  ///< the names that stand in parts

  /// Of `adapter`, which must live as long; `base` says what is a name of its own.
  AdapterContents(const Checkpoint& adapter, const Checkpoint& base);

 private:
  using Words = std::vector<std::string>;

  void add(const TensorInfo& info, const Checkpoint& base);
  /// False for what is not known.
  bool place(const std::string& part, const std::string& name, Words rest, const TensorInfo& info,
             const Checkpoint& base);
  /// Takes the adapter's name off the front of `rest`, where there is one, so that `left` words stay.
  void drop_name(Words& rest, size_t left);
};

}  // namespace outliers::io
