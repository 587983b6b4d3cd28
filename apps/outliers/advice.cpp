#include "advice.h"

#include <map>

#include <fmt/format.h>

namespace outliers::apps {
namespace {

std::map<Setting, const char*> g_called;

const char* option_of(Setting setting) {
  if (const auto called = g_called.find(setting); called != g_called.end()) return called->second;
  switch (setting) {
    case Setting::adapter:
      return "--adapter";
    case Setting::bos:
      return "--bos";
    case Setting::corpus:
      return "--corpus";
    case Setting::device:
      return "--device";
    case Setting::dtype:
      return "--dtype";
    case Setting::file:
      return "--file";
    case Setting::images:
      return "--images";
    case Setting::measures:
      return "--measures";
    case Setting::memory_limit:
      return "--memory";
    case Setting::output:
      return "--output";
    case Setting::prompt:
      return "--prompt";
    case Setting::replace:
      return "--force";
    case Setting::revision:
      return "--revision";
    case Setting::seed:
      return "--seed";
    case Setting::sequences:
      return "--sequences";
    case Setting::stride:
      return "--stride";
    case Setting::text_field:
      return "--text-field";
    case Setting::tokens:
      return "--tokens";
  }
  return "";
}

}  // namespace

std::string with_options(const Error& error) {
  std::string options;
  for (const Setting setting : error.settings())
    options += fmt::format("{}{}", options.empty() ? "" : ", ", option_of(setting));
  return options.empty() ? error.what() : fmt::format("{} ({})", error.what(), options);
}

void call_setting(Setting setting, const char* option) {
  g_called[setting] = option;
}

int exit_code(const Error& error) {
  if (const auto* interrupted = dynamic_cast<const Interrupted*>(&error)) return 128 + interrupted->signal();
  return error.kind() == ErrorKind::usage ? kUsage : kFailure;
}

}  // namespace outliers::apps
