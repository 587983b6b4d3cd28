// Text to measure on: corpora from files or from the program itself, and windows of token ids cut from them.
// Reading a path is the one exception to "this room knows no files".
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/text/tokenizer.h"

namespace outliers::text {

struct Corpus {
  std::string name;                    ///< the file's name, or "state-of-the-union"
  std::vector<std::string> documents;  ///< in order, none of them empty
};

/// Reads a corpus file.
/// *.jsonl, *.ndjson, *.json: one JSON object per line; its document is the field "text" (the name used by
/// Hugging Face datasets), else "content", else the only string field there is. Any other name: plain text,
/// whose documents are separated by lines `<|endoftext|>`. Either may be gzip-compressed (*.gz).
/// Errors: missing, unreadable, not gzip or cut short, a bad line (with its number), no text at all.
Corpus read_corpus(const std::filesystem::path& path);

/// The corpus embedded in the program: 400 kB of public-domain English (data/README.md).
Corpus default_corpus();

/// Plain text -> documents, cut at lines `<|endoftext|>`; blank ones are left out.
std::vector<std::string> split_documents(std::string_view text);

/// `sequences` windows of `tokens` ids: int64 [N, T].
///
/// Each window starts with what `bos` puts in front of a text (usually one BOS or nothing), which counts
/// as a part of its T tokens; an EOS that the model's own tokenizer would append is left out. Documents are
/// joined by a blank line ("\n\n") and windows run across their edges: no BOS and no separator token stands
/// inside a window.
///
/// seed 0: the first N windows of the text, consecutive and without overlap: window i + 1 begins with the
/// token after window i. Any other seed: each window begins at a word that follows a random place, place =
/// engine() % bytes with std::mt19937_64(seed), drawn again where fewer than T tokens follow; windows may
/// overlap. Only as much text is tokenised as the windows need.
///
/// Errors: sequences or tokens not positive, T no larger than what `bos` adds, or a text with fewer than N
/// windows, which says how many there are.
at::Tensor make_windows(const Tokenizer& tokenizer, const Corpus& corpus, int64_t sequences, int64_t tokens,
                        BosPolicy bos, uint64_t seed = 0);

}  // namespace outliers::text
