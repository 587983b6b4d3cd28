// How the program tells the errors of the library: which options would help, and the exit code.
#pragma once

#include <string>

#include "outliers/core/exception.h"

namespace outliers::apps {

constexpr int kFailure = 1, kUsage = 2;
/// Of outliers check: a finding is as bad as --fail-on, or worse.
constexpr int kReached = 3;

/// The error's line, with the options behind it that would change it: "...; raise the limit (--memory)".
std::string with_options(const Error& error);

/// From now on, in a command that calls it otherwise, a setting has this option.
void call_setting(Setting setting, const char* option);

/// 2 for wrong usage, 128 + the signal that interrupted, as shells expect, else 1.
int exit_code(const Error& error);

}  // namespace outliers::apps
