// Results appear whole or not at all: files and directories are written under a temporary name beside their
// final place and renamed when complete. A failure (full disk, Ctrl-C) removes the temporary and leaves what
// was there.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

namespace outliers {

/// A file written to "<path>.partial-<pid>" and renamed to `path` by commit().
class OutputFile {
 public:
  /// Opens the temporary. Throws when `path` exists and `force` is false, or cannot be created.
  OutputFile(std::filesystem::path path, bool force);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Appends bytes; throws an Error with path and reason when the disk is full.
  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  uint64_t bytes_written() const { return bytes_; }
  /// Flushes to disk and renames. Without it the destructor removes the temporary.
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  std::FILE* file_ = nullptr;
  uint64_t bytes_ = 0;
};

/// A directory filled under a temporary name and renamed by commit().
class OutputDirectory {
 public:
  /// Throws when `path` exists (unless `force`), or its parent cannot be written to; so a long run fails
  /// early.
  /// `force` replaces a directory only when it is empty or holds `marker`, so that a slip of the keyboard
  /// does not delete somebody's files.
  OutputDirectory(std::filesystem::path path, bool force, const std::string& marker);
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  /// Where to write files until commit().
  const std::filesystem::path& temporary() const { return temporary_; }
  /// Replaces what stood at the path, which is removed only once the new directory is in place.
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  bool committed_ = false;
};

}  // namespace outliers
