// A GGUF's metadata as its readers see it: the keys of one architecture.
#pragma once

#include <optional>
#include <string>

#include "outliers/io/gguf.h"

namespace outliers::models {

/// "block_count" is "llama.block_count". Errors name the file and the key. The metadata outlives the object.
class Keys {
 public:
  Keys(const io::GgufMetadata& metadata, std::string prefix, std::string where)
      : metadata_(metadata), prefix_(std::move(prefix) + "."), where_(std::move(where)) {}

  const std::string& where() const { return where_; }
  std::string name(const char* key) const { return prefix_ + key; }
  bool has(const char* key) const { return metadata_.has(name(key)); }
  std::optional<int64_t> maybe_integer(const char* key) const { return metadata_.integer(name(key)); }
  std::optional<double> maybe_number(const char* key) const { return metadata_.number(name(key)); }
  int64_t integer(const char* key) const;
  double number(const char* key, double otherwise) const { return maybe_number(key).value_or(otherwise); }
  bool boolean(const char* key, bool otherwise) const {
    return metadata_.boolean(name(key)).value_or(otherwise);
  }

 private:
  const io::GgufMetadata& metadata_;
  std::string prefix_, where_;
};

}  // namespace outliers::models
