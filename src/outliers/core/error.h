// How failures are told: one line that says what, where and what to do. User mistakes and bad files throw an
// Error; our own bugs assert. Only main() catches.
#pragma once

#include <string>

#include <fmt/format.h>

#include "outliers/core/exception.h"

namespace outliers {

/// Throws an Error with a formatted message.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws an Error with a formatted message unless `condition` holds.
template <typename... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// The same, with what there is to know of it besides the message.
template <typename... Args>
[[noreturn]] void fail(Cause cause, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...), std::move(cause));
}
template <typename... Args>
void require(bool condition, Cause cause, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw Error(fmt::format(format, std::forward<Args>(args)...), std::move(cause));
}

/// `text` on one line, safe for a terminal: control characters and invalid UTF-8 become \xNN escapes, and
/// text longer than `limit` bytes is cut with an ellipsis. For names that come out of files.
std::string printable(const std::string& text, size_t limit = 120);

}  // namespace outliers
