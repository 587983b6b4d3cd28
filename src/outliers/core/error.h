// What can go wrong, as the user sees it: one line that says what, where and what to do.
// User mistakes and bad files throw an Error; our own bugs assert. Only main() catches.
#pragma once

#include <stdexcept>
#include <string>

#include <fmt/format.h>

namespace outliers {

/// A failure the user can act on. The program prints what() on one line and exits with exit_code().
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, int exit_code = 1)
      : std::runtime_error(message), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

/// Wrong usage of the command line: exit code 2.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(message, 2) {}
};

/// Ctrl-C, SIGTERM or SIGHUP: exit code 128 + signal number, as shells expect.
class Interrupted : public Error {
 public:
  Interrupted(int signal, const std::string& message) : Error(message, 128 + signal) {}
};

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

/// `text` on one line, safe for a terminal: control characters and invalid UTF-8 become \xNN escapes, and
/// text longer than `limit` bytes is cut with an ellipsis. For names that come out of files.
std::string printable(const std::string& text, size_t limit = 120);

}  // namespace outliers
