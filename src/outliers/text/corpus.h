// Text to measure on: corpora from files or from the program itself, and windows of token ids cut from them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/text/corpus_reader.h"
#include "outliers/text/tokenizer.h"

namespace outliers::text {

/// Text of a longer corpus is read as it is needed.
constexpr size_t kCorpusAhead = size_t{64} << 20;

struct Corpus {
  std::string name;  ///< the file's name, "standard input" or "state-of-the-union"
  std::string text;  ///< its documents, joined by a blank line: all of it, or at least kCorpusAhead bytes
  std::shared_ptr<CorpusReader> rest;  ///< reads on; null: there is no more
};

/// Reads a corpus: a file, a pipe, or standard input where the path is "-". It may be compressed by gzip or
/// zstd, and is UTF-8 or UTF-16 with its byte order mark; all that is known by the first bytes, whatever the
/// name.
/// *.jsonl, *.ndjson, *.json (in any case of letters, before .gz, .zst and their like): one JSON object per
/// line; its document is the string `text_field` or, where that is empty, "text" (the name used by Hugging
/// Face datasets), else "content". With a `text_field` every corpus is read so, and standard input or a pipe
/// is where its first line is a JSON object that has a string. All other is plain text, whose documents are
/// separated by lines `<|endoftext|>`. A file that begins as Parquet does is read by its rows, of which the
/// same column is the document (parquet.h). Errors name the file, and the line of a row: missing, unreadable,
/// a directory, no text, damaged or cut short, a row or table without that string, no text at all; of a
/// corpus longer than kCorpusAhead as far as it is read. keep_empty: a row of JSON whose text is empty is a
/// document, too, so that the text is what joining all rows by a blank line gives; otherwise it is left out.
Corpus read_corpus(const std::filesystem::path& path, const std::string& text_field = "",
                   bool keep_empty = false);

/// The same of several files that are one corpus, in this order, each as if a separator stood between them.
/// Errors name the file; `name` is what the corpus is called.
Corpus read_corpus(const std::string& name, const std::vector<std::filesystem::path>& parts,
                   const std::string& text_field = "", bool keep_empty = false);

/// The corpus embedded in the program: 400 kB of public-domain English (data/README.md).
Corpus default_corpus();

/// A corpus in memory, of plain text.
Corpus corpus_of(std::string name, std::string text);

/// What a policy puts in front of a text, usually one BOS or nothing.
std::vector<int64_t> prefix_of(const Tokenizer& tokenizer, BosPolicy policy);

/// The first `wanted` ids of the corpora's text, joined by a blank line, without what a policy adds; all of
/// them where there are not so many. Reads and tokenises no more than it needs.
std::vector<int32_t> first_tokens(const Tokenizer& tokenizer, std::vector<Corpus> corpora, size_t wanted);

/// `sequences` windows of `tokens` ids: int64 [N, T].
///
/// Each window starts with what `bos` puts in front of a text (usually one BOS or nothing), which counts
/// as a part of its T tokens; an EOS that the model's own tokenizer would append is left out. Windows run
/// across the edges of documents: no BOS and no separator token stands inside a window.
///
/// seed 0: the first N windows of the text, consecutive and without overlap: window i + 1 begins with the
/// token after window i. Any other seed: each window begins at a word that follows a random place, place =
/// engine() % bytes with std::mt19937_64(seed), drawn again where fewer than T tokens follow; windows may
/// overlap. Only as much text is tokenised as the windows need. With seed 0 no more is read, either;
/// otherwise the rest of a long corpus is read twice or more, first to know its length, and never held.
///
/// Errors: sequences or tokens not positive, T no larger than what `bos` adds, or a text with fewer than N
/// windows, which says how many there are; a pipe too long to be held, of which windows from random places
/// are wanted.
at::Tensor make_windows(const Tokenizer& tokenizer, Corpus corpus, int64_t sequences, int64_t tokens,
                        BosPolicy bos, uint64_t seed = 0);

}  // namespace outliers::text
