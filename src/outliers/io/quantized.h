// Weights that other programs quantised and stored in safetensors (or PyTorch files): several stored tensors
// make one weight. Each is dequantised as its own package does, its last rounding included; what is not known
// exactly is refused by name. docs/formats.md lists the methods and their sources.
#pragma once

#include <memory>
#include <string>

#include "outliers/io/checkpoint.h"

namespace outliers::io {

/// `config` is config.json's quantization_config (JSON), `where` names its file in messages. The weights take
/// the names they have in the model that is not quantised: "...q_proj.weight", [out, in].
std::unique_ptr<Checkpoint> dequantized(std::unique_ptr<Checkpoint> stored, const std::string& config,
                                        const std::string& where);

}  // namespace outliers::io
