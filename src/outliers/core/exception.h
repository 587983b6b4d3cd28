// What can go wrong, as it reaches the caller: one line to show, a kind to act on, and what could be set
// otherwise.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "outliers/core/export.h"

namespace outliers {

enum class ErrorKind {
  input,        ///< a file is missing, damaged, or not what it should be
  unsupported,  ///< a family, a method or an encoding that is not known here
  argument,     ///< a value that was given does not fit the model, or is none at all
  usage,        ///< values that were given exclude each other, or name what there is not
  memory,       ///< more is needed than the limit on memory leaves
  device,       ///< the device is not there
  network,      ///< the Hub cannot be reached, or does not give it to us
  output,       ///< a place that cannot be written to, or is taken
  interrupted,  ///< by a signal
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
  text_field,
  tokens,
};

struct Cause {
  ErrorKind kind = ErrorKind::input;
  std::vector<Setting> settings = {};
};

/// A failure that the user can act on; what() is one line.
class OUTLIERS_API Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, Cause cause = {})
      : std::runtime_error(message), cause_(std::move(cause)) {}
  const Cause& cause() const { return cause_; }
  ErrorKind kind() const { return cause_.kind; }
  const std::vector<Setting>& settings() const { return cause_.settings; }

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
