// PyTorch's own files (pytorch_model.bin, .pt, .pth): a zip archive of a pickle and raw storages (torch
// >= 1.6), or the legacy file, one pickle after another and then the storages. One file, or many behind an
// index.
#pragma once

#include <filesystem>
#include <memory>

#include "outliers/io/checkpoint.h"

namespace outliers::io {

/// One file, or the shards of a checkpoint without an index. A file's tensors are those of the state dict
/// that it holds, at its top or under "state_dict", "model" or "module"; whatever else stands beside them is
/// passed over. Throws for a pickle that names anything but tensors (io/pickle.h), big-endian files,
/// TorchScript, and tensors outside their storages.
std::unique_ptr<Checkpoint> open_torch(const std::vector<std::filesystem::path>& paths);
std::unique_ptr<Checkpoint> open_torch_index(const std::filesystem::path& path);

}  // namespace outliers::io
