// Where a checkpoint keeps its tokenizer: tokenizer.json and tokenizer_config.json beside safetensors, the
// metadata of a GGUF.
#pragma once

#include <memory>

#include "outliers/io/checkpoint.h"
#include "outliers/text/tokenizer.h"

namespace outliers::models {

/// nullptr when the checkpoint has none.
std::unique_ptr<text::Tokenizer> load_tokenizer(const io::Checkpoint& checkpoint);

}  // namespace outliers::models
