// What can go wrong, as it reaches the caller: one line to show, a kind to act on, and what could be set
// otherwise.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "outliers/core/export.h"

namespace outliers {

/// docs/library.md has a table of them.
enum class ErrorKind {
  input,        ///< what is in a file is damaged, or not what it should be
  unsupported,  ///< a family, a method, an encoding, or a program that this build or machine has not
  argument,     ///< a value that was given does not fit the model, or is none at all
  usage,        ///< values that were given exclude each other, or name what there is not
  memory,       ///< more is needed than there is, or than the limit on memory leaves
  device,       ///< the device is not there, or has failed
  network,      ///< the Hub, or another process of the run, cannot be reached, or breaks off
  output,       ///< a place that cannot be written to, or is taken; error_number() says why
  interrupted,  ///< by a signal
  file,         ///< a file is missing, or cannot be read; error_number() says why
};

/// What a caller can set; Error::settings() names those that would help.
enum class Setting {
  adapter,
  bos,
  corpus,
  device,
  dtype,
  file,
  images,
  measures,
  memory_limit,
  output,
  prompt,
  replace,
  revision,
  seed,
  sequences,
  stride,
  text_field,
  tokens,
};

struct Cause {
  Cause(ErrorKind of = ErrorKind::input, std::vector<Setting> which = {}, int number = 0)
      : kind(of), error_number(number), settings(std::move(which)) {}

  ErrorKind kind;
  int error_number;  ///< errno of the system call that failed; 0: none did
  std::vector<Setting> settings;
};

/// A failure that the user can act on; what() is one line.
class OUTLIERS_API Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, Cause cause = {})
      : std::runtime_error(message), cause_(std::move(cause)) {}
  const Cause& cause() const { return cause_; }
  ErrorKind kind() const { return cause_.kind; }
  const std::vector<Setting>& settings() const { return cause_.settings; }
  /// errno, where the system gave the reason: ENOENT, EACCES, ENOSPC, EEXIST; else 0.
  int error_number() const { return cause_.error_number; }

 private:
  Cause cause_;
};

/// What was asked for contradicts itself.
class OUTLIERS_API UsageError : public Error {
 public:
  explicit UsageError(const std::string& message, std::vector<Setting> settings = {})
      : Error(message, {ErrorKind::usage, std::move(settings)}) {}
};

/// Ctrl-C, SIGTERM or SIGHUP, where the program has handlers for them.
class OUTLIERS_API Interrupted : public Error {
 public:
  Interrupted(int signal, const std::string& message)
      : Error(message, {ErrorKind::interrupted}), signal_(signal) {}
  int signal() const { return signal_; }

 private:
  int signal_;
};

}  // namespace outliers
