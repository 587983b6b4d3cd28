// The index of a sharded checkpoint: model.safetensors.index.json or pytorch_model.bin.index.json.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "outliers/io/checkpoint.h"

namespace outliers::io {

/// File name -> the tensors that the index says are in it. Names are in their shortest spelling ("./a" is
/// "a"), and none leaves the index's folder, since a downloaded index must not.
std::map<std::string, std::vector<std::string>> parse_shard_index(const std::filesystem::path& path);

/// The same, and every file is there.
std::map<std::string, std::vector<std::string>> read_shard_index(const std::filesystem::path& path);

/// Throws unless `found`, the tensors of the shard `part`, has all that the index says.
void check_shard(const std::filesystem::path& index, const std::filesystem::path& part,
                 const std::vector<std::string>& expected, const std::vector<TensorInfo>& found);

}  // namespace outliers::io
