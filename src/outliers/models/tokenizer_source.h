// Where a checkpoint keeps its tokenizer: tokenizer.json, tokenizer.model, or vocab.json and merges.txt
// beside the weights, with the files that configure it; the metadata of a GGUF.
#pragma once

#include <filesystem>
#include <memory>

#include "outliers/io/checkpoint.h"
#include "outliers/text/tokenizer.h"

namespace outliers::models {

/// nullptr when the checkpoint has none.
std::unique_ptr<text::Tokenizer> load_tokenizer(const io::Checkpoint& checkpoint);

/// The tokenizer alone, whatever the weights are and whether there are any: of a GGUF (a vocabulary-only one
/// too), a directory or a file in it, a tokenizer.json or a .model file. Throws when there is none.
std::unique_ptr<text::Tokenizer> open_tokenizer(const std::filesystem::path& path);

}  // namespace outliers::models
