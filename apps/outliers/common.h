// Options that several commands share, and the way they read text.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/outliers.h"

#include "options.h"

namespace outliers::apps {

/// The MODEL argument, with --revision and --file.
class ModelArgument {
 public:
  struct With {
    bool file = true;      ///< --file; without it a command keeps --file for itself, and MODEL:FILE names it
    bool adapter = false;  ///< --adapter
  };
  void add(Command& command, With with);
  void add(Command& command) { add(command, With()); }
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
Option add_bos(Command& command, text::BosPolicy& bos);
/// --images PATH..., for models of images. `use`: what they are for.
Option add_images(Command& command, std::vector<std::string>& images, const char* use);

/// What --prompt-file is, in all commands.
inline constexpr const char* kPromptFileUse = "a file that holds the prompt; - is standard input";
/// --prompt-file, whose text takes the place of --prompt.
Option add_prompt_file(Command& command, std::string& path, const Option& prompt);
/// --force, of a command with --output.
Option add_force(Command& command, bool& force);
/// --json.
Option add_json(Command& command, bool& json);
/// An option that names a dtype, in any of its spellings (core/dtype.h), or the one word `other`, for which
/// `dtype` gets nothing. `use` says what it is for.
Option add_dtype(Command& command, const char* name, std::optional<at::ScalarType>& dtype, const char* other,
                 const std::string& use);

/// --device, --dtype, --threads and --memory.
struct Compute {
  std::string device = "cpu";
  std::optional<at::ScalarType> dtype;  ///< nothing: auto
  int threads = 0;
  uint64_t memory = 0;  ///< bytes; 0: no limit

  void add(Command& command);
  /// What a session takes of it; `output`: where the command writes.
  SessionOptions session(const std::string& output) const;
};

/// A to Z as a to z.
std::string lower(std::string text);

/// Contents of a file, or of standard input for "-".
std::string read_text(const std::string& path);

}  // namespace outliers::apps
