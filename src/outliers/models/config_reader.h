// From a checkpoint's own description to a Config: Hugging Face's config.json or GGUF's metadata. What the
// checkpoint asks for and this program does not do is an Error that names it, never another model's numbers.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "outliers/core/exception.h"
#include "outliers/io/checkpoint.h"
#include "outliers/models/config.h"
#include "outliers/models/families.h"

namespace outliers::models {

struct Described {
  const Family* family;
  Config config;
  std::string quantization = {};  ///< config.json's quantization_config (JSON), "" where there is none
};

/// `text` is config.json's content; `where` names the file in messages.
Described describe_hugging_face(std::string_view text, const std::string& where);
/// `checkpoint` is a GGUF (its metadata() is not null).
Described describe_gguf(const io::Checkpoint& checkpoint);

/// What both readers end with: per-layer windows and rotaries. `sliding[l]` says whether layer l has
/// `window`.
void set_layers(Config& config, const std::vector<bool>& sliding, int64_t window, const Rotary& global,
                const Rotary& local);
/// How the file keeps its experts: by expert or stacked, gate and up fused.
void set_expert_storage(Config& config, const io::Checkpoint& checkpoint);
/// Whether a text of `tokens` tokens, called `what` ("the prompt has"), has positions. Beyond max_positions
/// it warns where the rotary's scaling stretches them or changes with the length, as transformers computes
/// it; else throws, with `remedy`.
void check_positions(const Config& config, int64_t tokens, const std::string& what, const char* remedy,
                     Setting setting);
/// Sizes that can be, before anything is allocated by them. Throws naming `where` and the field.
void check_config(const Config& config, const std::string& where);

}  // namespace outliers::models
