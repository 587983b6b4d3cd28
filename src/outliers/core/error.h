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

/// Causes of the system, by errno: a file that is missing or cannot be read, a place that cannot be written
/// to.
inline Cause not_read(int error_number) {
  return {ErrorKind::file, {}, error_number};
}
inline Cause not_written(int error_number) {
  return {ErrorKind::output, {}, error_number};
}

/// Causes that are a kind alone. Without any, it is what a file holds (ErrorKind::input).
inline const Cause kArgument{ErrorKind::argument}, kNetwork{ErrorKind::network},
    kUnsupported{ErrorKind::unsupported};

/// For rooms that are given values, not files: what they refuse is an argument, where no Cause is said.
/// `using argument::fail;` in their namespace.
namespace argument {
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  outliers::fail(kArgument, format, std::forward<Args>(args)...);
}
template <typename... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  outliers::require(condition, kArgument, format, std::forward<Args>(args)...);
}
}  // namespace argument

/// `text` on one line, safe for a terminal: control characters and invalid UTF-8 become \xNN escapes, and
/// text longer than `limit` bytes is cut with an ellipsis. For names that come out of files.
std::string printable(const std::string& text, size_t limit = 120);

}  // namespace outliers
