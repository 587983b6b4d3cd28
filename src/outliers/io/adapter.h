// A LoRA adapter as PEFT saves it (adapter_config.json beside adapter_model.safetensors or .bin), merged into
// the weights it was trained for: W + scaling * B A (2106.09685), as PEFT's merge_and_unload does.
#pragma once

#include <filesystem>
#include <memory>

#include "outliers/io/checkpoint.h"

namespace outliers::io {

/// `base` with the adapter of `directory` merged in, in float32 (float64 for float64). Throws for an adapter
/// of another kind than LoRA or with an option that changes the formula (DoRA, initialisations that alter the
/// base), and, in one message, for every tensor of the adapter that is missing, does not fit, or has no place
/// in the base.
std::unique_ptr<Checkpoint> adapted(std::unique_ptr<Checkpoint> base, const std::filesystem::path& directory);

}  // namespace outliers::io
