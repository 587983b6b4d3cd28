// A LoRA adapter as PEFT saves it (adapter_config.json beside adapter_model.safetensors or .bin), merged into
// the weights it was trained for: W + scaling * B A (2106.09685), DoRA's W scaled by row (2402.09353).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "outliers/io/checkpoint.h"

namespace outliers::io {

/// What the base's tensors alone do not say of its modules.
struct AdapterBase {
  /// Whether its linear layers are stored [in, out] (transformers' Conv1D); unknown: fan_in_fan_out says it.
  std::optional<bool> transposed;
  /// Where the output matrix is the embedding's and not stored: the embedding's tensor and the name that the
  /// matrix would have; "" elsewhere.
  std::string embedding, tied_head;
};

/// `checkpoint` with the adapter of `directory` merged in, in float32 (float64 for float64). Where an adapter
/// parts a tied output matrix from the embedding, as PEFT's model does, the matrix appears under its name.
/// Throws for an adapter of another kind than LoRA or with an option that cannot be merged
/// (io/lora_config.h), and, in one message, for every tensor of the adapter that is missing, does not fit, or
/// has no place in the base.
std::unique_ptr<Checkpoint> adapted(std::unique_ptr<Checkpoint> checkpoint,
                                    const std::filesystem::path& directory, const AdapterBase& base = {});

}  // namespace outliers::io
