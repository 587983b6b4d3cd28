// Options that several commands share, and the way they read text.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <CLI/CLI.hpp>

#include "outliers/outliers.h"

namespace outliers::apps {

/// The MODEL argument, with --revision and --file.
class ModelArgument {
 public:
  struct With {
    bool file = true;      ///< --file; without it a command keeps --file for itself, and MODEL:FILE names it
    bool adapter = false;  ///< --adapter
  };
  void add(CLI::App& command, With with);
  void add(CLI::App& command) { add(command, With()); }
  const std::string& source() const { return source_; }
  const OpenOptions& options() const { return options_; }
  Model open() const { return Model::open(source_, options_); }
  /// Where the model is on this machine.
  std::filesystem::path path() const { return fetch(source_, options_.revision, options_.file); }

 private:
  std::string source_;
  OpenOptions options_;
};
/// --bos model|always|never.
CLI::Option* add_bos(CLI::App& command, text::BosPolicy& bos);
/// --images PATH..., for models of images. `use`: what they are for.
CLI::Option* add_images(CLI::App& command, std::vector<std::string>& images, const char* use);

/// What --prompt-file is, in all commands.
inline constexpr const char* kPromptFileUse = "a file that holds the prompt; - is standard input";
/// --prompt-file, whose text takes the place of --prompt.
CLI::Option* add_prompt_file(CLI::App& command, std::string& path, CLI::Option* prompt);
/// --force, of a command with --output.
CLI::Option* add_force(CLI::App& command, bool& force);
/// --json.
CLI::Option* add_json(CLI::App& command, bool& json);
/// An option that names a dtype, in any of its spellings (core/dtype.h), or the one word `other`, for which
/// `dtype` gets nothing. `use` says what it is for.
CLI::Option* add_dtype(CLI::App& command, const char* name, std::optional<at::ScalarType>& dtype,
                       const char* other, const std::string& use);

/// A number of 0 or above. (CLI11's own validator prints the largest double in its message.)
CLI::Validator not_negative();

/// --device, --dtype, --threads and --memory.
struct Compute {
  std::string device = "cpu";
  std::optional<at::ScalarType> dtype;  ///< nothing: auto
  int threads = 0;
  uint64_t memory = 0;  ///< bytes; 0: no limit

  void add(CLI::App& command);
  /// What a session takes of it; `output`: where the command writes.
  SessionOptions session(const std::string& output) const;
};

/// Contents of a file, or of standard input for "-".
std::string read_text(const std::string& path);

}  // namespace outliers::apps
