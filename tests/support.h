// What tests of several rooms share.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "outliers/core/warning.h"

namespace outliers::tests {

inline std::filesystem::path golden(const std::string& path) {
  return std::filesystem::path(OUTLIERS_TESTS_DIR) / "golden" / path;
}

/// Where scripts/fetch_models.py puts `file`; the test skips when it is not there.
inline std::filesystem::path real_model(const char* file) {
  const auto env = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  if (!env("OUTLIERS_MODELS").empty()) return env("OUTLIERS_MODELS") / file;
  if (!env("OUTLIERS_CACHE").empty()) return env("OUTLIERS_CACHE") / "models" / file;
  if (!env("XDG_CACHE_HOME").empty()) return env("XDG_CACHE_HOME") / "outliers/models" / file;
  return env("HOME") / ".cache/outliers/models" / file;
}
inline constexpr const char* kSmolLM = "SmolLM2-135M-Instruct.Q4_1.gguf";
inline constexpr const char* kQwen = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf";
inline constexpr const char* kGemma = "gemma-3-270m-q4_k_m.gguf";

#define OUTLIERS_SKIP_WITHOUT(path)   \
  if (!std::filesystem::exists(path)) \
  GTEST_SKIP() << path << " is not there; scripts/fetch_models.py fetches it"

/// A directory that is removed at the end of the test.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    path_ = std::filesystem::temp_directory_path() / fmt::format("outliers-test-{}", std::random_device{}());
    std::filesystem::create_directories(path_);
  }
  ~ScratchDirectory() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The message of the Error that `action` throws; a test failure when it throws nothing or something else.
template <typename Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

/// The warnings that an action gives, each followed by a line feed. Earlier ones are not given again.
template <typename Action>
std::string warnings_of(Action&& action) {
  std::string all;
  const WarningHandler before =
      set_warning_handler([&](const std::string& message) { all += message + "\n"; });
  action();
  set_warning_handler(before);
  return all;
}

}  // namespace outliers::tests
