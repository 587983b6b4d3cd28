// The documents of a Parquet file: one string a row, as data sets on the Hub are stored.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "outliers/core/input.h"

namespace outliers::text {

/// Whether a file begins as Parquet does, encrypted or not.
bool is_parquet(std::string_view first_bytes);

/// Calls with each document of some more rows. False at the end.
using RowSource = std::function<bool(const std::function<void(std::string_view)>& take)>;

/// Reads a Parquet file from its first row. The document of a row is the string of the column `text_field`
/// or, where that is empty, of "text", else "content". Holds a page of each column that is read, never a row
/// group. Errors name the file and the row (counted from 1): no such column (with those that there are), no
/// string there, bytes that are not UTF-8, a row of more than `longest` bytes, damaged, cut short or
/// encrypted files, and builds without Arrow's library.
RowSource parquet_rows(std::shared_ptr<InputFile> file, std::string text_field, size_t longest);

}  // namespace outliers::text
