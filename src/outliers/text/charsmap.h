// The compiled normalisation rules of SentencePiece models: a Darts double array whose keys are what is
// replaced, and the replacements, each ended by a NUL. The bytes come from a file, so every step is checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace outliers::text {

class Charsmap {
 public:
  /// The blob of NormalizerSpec.precompiled_charsmap: the array's size in bytes (u32), the array, the
  /// replacements. Throws naming `where` when it is not one.
  Charsmap(std::string_view blob, std::string_view where);

  struct Match {
    size_t length;  ///< bytes of the key
    std::string_view replacement;
  };
  /// The longest key that `text` (valid UTF-8) has at `at`, as sentencepiece looks it up.
  std::optional<Match> longest(std::string_view text, size_t at) const;
  /// The shortest key, as tokenizers does.
  std::optional<Match> shortest(std::string_view text) const;

 private:
  std::optional<Match> find(std::string_view text, bool shortest) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

/// Standard base64 with padding; nullopt where it is not.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace outliers::text
