// Hashes that name a file's content on the Hub: SHA-256 for large files, git's SHA-1 of a blob for the
// others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace outliers::io {

class Digest {
 public:
  static Digest sha256();
  /// Git's object name of a file of `size` bytes: SHA-1 over "blob SIZE\0" and the content.
  static Digest git_blob(uint64_t size);
  ~Digest();
  Digest(Digest&& other) noexcept;
  Digest& operator=(Digest&& other) noexcept;

  void update(std::string_view bytes);
  /// Lower-case hexadecimal; the digest takes no more bytes afterwards.
  std::string finish();

 private:
  struct State;
  explicit Digest(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace outliers::io
