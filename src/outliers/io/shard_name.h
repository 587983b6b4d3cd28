// Names of the files that make up one checkpoint: NAME-00002-of-00005.EXT, as Hugging Face's tools and
// gguf-split call them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace outliers::io {

struct ShardName {
  std::string stem, extension;  ///< "model", ".safetensors"
  int64_t number = 0, count = 0;
  size_t digits = 0;

  /// The name of the shard of another number.
  std::string of(int64_t other) const;
};

/// nullopt for a name of another form. `file` has no folder.
std::optional<ShardName> parse_shard_name(const std::string& file);

/// The shards of one checkpoint, as far as they are there.
struct ShardSeries {
  std::string first;                 ///< the name of number 1
  std::vector<std::string> files;    ///< all that there should be, 1 to N
  std::vector<std::string> missing;  ///< those of them that are not there
  bool has(const std::string& file) const;
};

/// The series of `names` with that extension, by their first names.
std::vector<ShardSeries> shard_series(const std::vector<std::string>& names, std::string_view extension);

/// "a, b and 3 more".
std::string names_in_words(const std::vector<std::string>& names);

/// The image tower of a multimodal GGUF, which is no checkpoint of its own.
bool is_projector(const std::string& file);

}  // namespace outliers::io
