// safetensors: 8 bytes of header length, a JSON header, raw little-endian tensors; one file, or many behind
// an index (model.safetensors.index.json).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "outliers/core/output.h"
#include "outliers/io/checkpoint.h"

namespace outliers::io {

/// One file, or the shards of a checkpoint without an index.
std::unique_ptr<Checkpoint> open_safetensors(const std::vector<std::filesystem::path>& paths);
std::unique_ptr<Checkpoint> open_safetensors_index(const std::filesystem::path& path);

/// What a writer must know of a tensor before its data comes.
struct TensorPlan {
  std::string name;
  std::vector<int64_t> shape;
  at::ScalarType dtype;  ///< float32, float16, bfloat16, float64, int64 or int32
};

/// Writes tensors one by one, so that only one is in memory. The header comes first in the file, so all
/// shapes are given up front.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, bool force, std::vector<TensorPlan> plan,
                    const std::map<std::string, std::string>& metadata = {});
  /// The next tensor of the plan; throws when name, shape or dtype differ from it.
  void add(const std::string& name, const at::Tensor& tensor);
  /// Throws when a tensor of the plan is missing.
  void commit();

 private:
  OutputFile file_;
  std::vector<TensorPlan> plan_;
  size_t next_ = 0;
};

}  // namespace outliers::io
