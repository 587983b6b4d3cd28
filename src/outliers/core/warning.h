// What the user should know although nothing failed: what was ignored, and what was taken in its place.
#pragma once

#include <functional>
#include <string>

#include <fmt/format.h>

namespace outliers {

using WarningHandler = std::function<void(const std::string& message)>;

/// Replaces what becomes of warnings, which is a line on standard error at first; returns what stood before.
WarningHandler set_warning_handler(WarningHandler handler);

/// Warns with one line that names the file and the thing, the same message once in a process. Safe from any
/// thread.
void warn_message(const std::string& message);

template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  warn_message(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace outliers
