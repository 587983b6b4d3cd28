// Bytes that are read once, from the start: of a file, a pipe, or standard input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace outliers {

class InputFile {
 public:
  /// "-" is standard input. `what` stands before the name in messages, as in "the corpus ". Throws for what
  /// is not there, may not be read or is a directory. A signal ends the wait for the other side of a pipe.
  explicit InputFile(const std::filesystem::path& path, const std::string& what = "");
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// The next bytes, at most `most`; how many, 0 at the end. A signal ends the wait.
  size_t read(char* to, size_t most);
  /// All that is left.
  std::string read_all();
  /// Whether it can be read again: not a pipe or a terminal.
  bool can_rewind() const { return regular_; }
  /// Goes back to the first byte. Throws where that cannot be.
  void rewind();
  /// Bytes of a file that can be read again.
  uint64_t size() const;
  /// Up to `bytes` from `offset` on, fewer at the end alone; leaves the place of read() as it is.
  size_t read_at(uint64_t offset, char* to, size_t bytes);
  /// For messages: `what` and the name.
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  int fd_ = -1;
  bool standard_ = false, regular_ = false;
};

}  // namespace outliers
