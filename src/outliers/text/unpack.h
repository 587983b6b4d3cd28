// gzip (RFC 1952) and zstd (RFC 8878), a piece at a time.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace outliers::text {

/// Gives the next bytes, at most as many as asked for; 0 at the end.
using ByteSource = std::function<size_t(char* to, size_t most)>;

/// The bytes of `source` before they were compressed by gzip or zstd (one or many members or frames), which
/// is known by the first bytes alone; other bytes as they are. Holds a buffer, never the whole. What it reads
/// throws, with `name`, where the data is damaged (checksums are checked), cut short, or followed by other
/// data than zeros.
ByteSource unpacked(ByteSource source, const std::string& name);

}  // namespace outliers::text
