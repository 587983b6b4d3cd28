// Writes a checkpoint as transformers loads it: safetensors (sharded where they are large) with config.json
// and the files of the tokenizer or the image processor, from any format this program reads, dequantised and
// with an adapter merged in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <c10/core/ScalarType.h>

namespace outliers::models {

class Model;

struct ExportOptions {
  at::ScalarType dtype = at::kBFloat16;            ///< float32, bfloat16 or float16
  uint64_t shard_bytes = uint64_t{5'000'000'000};  ///< of tensors in one file; a larger tensor has its own
};

struct Exported {
  int64_t tensors = 0, files = 0;
  uint64_t bytes = 0;
  bool tokenizer = false;  ///< whether the checkpoint's tokenizer could be written
  bool processor = false;  ///< whether preprocessor_config.json was there
  /// What of the two the model needs and is not there, and why; else empty.
  std::string missing = {};
};

/// Writes into `directory`, which exists and is empty. From Hugging Face's formats all tensors keep their
/// names and config.json its keys, less the quantisation; from a GGUF both are built from the family's row.
/// Throws for a GGUF of a family that has no such row, values that float16 cannot hold, and a full disk.
Exported export_checkpoint(const Model& model, const std::filesystem::path& directory,
                           const ExportOptions& options);

}  // namespace outliers::models
