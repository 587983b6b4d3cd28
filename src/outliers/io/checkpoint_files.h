// Which files make up the checkpoint that a path names. A folder that can be read in two ways is refused.
#pragma once

#include <filesystem>
#include <memory>

#include "outliers/io/checkpoint.h"

namespace outliers::io {

/// The one checkpoint of a folder: an index and its shards, one whole file, or shards that are numbered 1 to
/// N of N; safetensors before PyTorch's before GGUF. Throws where there are two of a format (--file chooses)
/// or none, where shards are missing, and for a folder that holds an adapter only.
std::unique_ptr<Checkpoint> open_folder(const std::filesystem::path& folder);

/// By content where that says it, else by name. A shard stands for all shards: those of the index beside it
/// that lists it, or those of its numbers.
std::unique_ptr<Checkpoint> open_file(const std::filesystem::path& file);

}  // namespace outliers::io
