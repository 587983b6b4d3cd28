// What stands between the reader of corpora and Arrow's Parquet library, which is loaded at the first Parquet
// file: linked, it would cost every start of the program 6 ms and 6 MB. Both sides are compiled together, but
// share nothing except these types and the standard library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace outliers::text {

/// A file of which any part can be read.
struct ByteRange {
  uint64_t size = 0;
  /// Reads `bytes` at `offset`; fewer only at the end. May throw; that reaches the caller of the reader.
  std::function<size_t(uint64_t offset, char* to, size_t bytes)> read_at;
};

/// Strings of a Parquet file, row after row. Holds the footer and of each column that is read one page and
/// the dictionary. What is damaged, cut short, encrypted or not supported throws std::runtime_error with one
/// line.
class ParquetFile {
 public:
  struct Column {
    std::string name;
    bool is_text = false;  ///< strings: one a row, or null
  };

  virtual ~ParquetFile() = default;
  /// Those at the top of the schema.
  virtual const std::vector<Column>& columns() const = 0;
  /// Begins with the first row and takes of each the first of these columns, by index, that is not null.
  virtual void begin(const std::vector<size_t>& columns) = 0;
  /// The next row, valid until the next call; nullopt inside where all its columns are null. False at the
  /// end.
  virtual bool next(std::optional<std::string_view>& text) = 0;
};

}  // namespace outliers::text

/// The one function of the module `OUTLIERS_PARQUET_MODULE`.
extern "C" using OutliersOpenParquet = outliers::text::ParquetFile * (outliers::text::ByteRange file);
inline constexpr const char* kOutliersOpenParquet = "outliers_open_parquet";
