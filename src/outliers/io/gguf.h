// GGUF, versions 2 and 3 (ggml's docs/gguf.md): a header, typed key/value metadata, tensor infos, aligned
// data. Everything read from the file is checked before use.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "outliers/io/checkpoint.h"

namespace outliers::io {

/// The types of metadata values, by GGUF's numbers.
enum class GgufType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

/// The key/value metadata. Values stay in the mapped file; strings are views into it. Lookups return nullopt
/// for a missing key and throw an Error, naming key and wanted type, for one of another type.
class GgufMetadata {
 public:
  bool has(std::string_view key) const { return entries_.count(std::string(key)) != 0; }
  /// Keys in file order.
  const std::vector<std::string>& keys() const { return keys_; }

  std::optional<std::string> string(std::string_view key) const;
  /// Any integer type that fits.
  std::optional<int64_t> integer(std::string_view key) const;
  /// Any number.
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;

  std::optional<std::vector<std::string_view>> strings(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(std::string_view key) const;
  std::optional<std::vector<double>> numbers(std::string_view key) const;
  std::optional<std::vector<bool>> booleans(std::string_view key) const;
  /// Elements of an array, 1 for a plain value, 0 for a missing key.
  uint64_t count(std::string_view key) const;

 private:
  friend class GgufReader;
  struct Entry {
    GgufType type;  // of the value, or of an array's elements
    bool array;
    uint64_t count;
    const uint8_t* data;  // checked: the whole value lies in the file
  };
  const Entry* find(std::string_view key, bool array, const char* wanted) const;

  std::string path_;
  std::vector<std::string> keys_;
  std::unordered_map<std::string, Entry> entries_;
};

/// Whether the file begins with GGUF's magic. False for anything unreadable.
bool is_gguf(const std::filesystem::path& path);
/// A whole file, or any part of one that gguf-split has cut: the others are found beside it, by their names
/// (NAME-00002-of-00005.gguf).
std::unique_ptr<Checkpoint> open_gguf(const std::filesystem::path& path);

}  // namespace outliers::io
