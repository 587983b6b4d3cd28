#include "outliers/core/warning.h"

#include <cstdio>
#include <mutex>
#include <set>
#include <utility>

#include "outliers/core/error.h"
#include "outliers/core/progress_line.h"

namespace outliers {
namespace {

void print(const std::string& message) {
  clear_progress_line();
  std::fprintf(stderr, "outliers: warning: %s\n", printable(message, std::string::npos).c_str());
}

struct Warnings {
  std::mutex mutex;
  WarningHandler handler = print;
  std::set<std::string> told;
};
Warnings& warnings() {
  static Warnings all;
  return all;
}

}  // namespace

WarningHandler set_warning_handler(WarningHandler handler) {
  const std::lock_guard lock(warnings().mutex);
  return std::exchange(warnings().handler, std::move(handler));
}

void warn_message(const std::string& message) {
  const std::lock_guard lock(warnings().mutex);
  if (warnings().told.insert(message).second) warnings().handler(message);
}

}  // namespace outliers
