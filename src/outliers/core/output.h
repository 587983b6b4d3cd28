// Results appear whole or not at all: files and directories are written under a temporary name beside their
// final place and renamed when complete. A failure (full disk, Ctrl-C) removes the temporary and leaves what
// was there. Nothing that appears at the place meanwhile is replaced: see commit().
//
// A temporary is ".NAME.partial-PID-RANDOM", made exclusively (no link is followed) and locked (flock) as
// long as its process lives. The next run into the same place removes those whose process is gone, and says
// so.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <utility>

namespace outliers {

/// Writes all bytes; returns 0 or the errno of the call that failed. Throws Interrupted.
int write_all(int fd, const void* data, size_t bytes);

/// Writes to standard output; throws an Error with the reason where it is full or closed.
void print(std::string_view text);

/// Why `path` cannot be written, from an errno, with what to do about a full disk.
[[noreturn]] void fail_to_write(const std::filesystem::path& path, int error);

/// A file or directory under a temporary name beside `place`. The destructor removes it.
class Temporary {
 public:
  enum class Kind { file, directory };
  /// Removes what killed runs left of the same name. Where a living process writes to the same place: throws,
  /// if `alone`.
  Temporary(const std::filesystem::path& place, Kind kind, bool alone);
  ~Temporary();
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Of the file, open for writing, or of the directory.
  int fd() const { return fd_; }
  /// Renames it to `place`, where nothing may be. Returns 0 or an errno: EEXIST.
  int move_to(const std::filesystem::path& place);
  /// Renames it to "`place`.1", or the first such name that is free, and returns that.
  std::filesystem::path keep_beside(const std::filesystem::path& place);
  /// Removes what has its name now.
  void remove();
  /// It has another name now.
  void release() { owned_ = false; }
  /// Says that `path` is complete, unless it lies in a temporary directory.
  static void note_complete(const std::filesystem::path& path);

 private:
  std::filesystem::path path_;
  Kind kind_;
  int fd_ = -1;
  bool owned_ = true;
};

/// A file written under a temporary name and renamed to its place by commit().
class OutputFile {
 public:
  /// Opens the temporary. Throws when `path` exists and `force` is false, when it is a directory or another
  /// thing than a file, when another process is writing it, or it cannot be created.
  OutputFile(std::filesystem::path path, bool force);

  /// Appends bytes; throws an Error with path and reason when the disk is full.
  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  uint64_t bytes_written() const { return bytes_; }
  /// Flushes to disk and renames. Without it the destructor removes the temporary. Where a file has appeared
  /// since (and `force` is false), this one is kept beside it under another name, and the Error says which.
  void commit();

 private:
  void flush();

  std::filesystem::path path_;
  bool force_;
  Temporary temporary_;
  std::string buffer_;
  uint64_t bytes_ = 0;
};

/// A directory filled under a temporary name and renamed by commit().
class OutputDirectory {
 public:
  /// Throws when `path` exists (unless `force`), when another process is writing it, or its parent cannot be
  /// written to; so a long run fails early.
  /// `force` replaces a directory only when it is empty or holds `marker`, so that a slip of the keyboard
  /// does not delete somebody's files.
  OutputDirectory(std::filesystem::path path, bool force, std::string marker);

  /// Where to write files until commit().
  const std::filesystem::path& temporary() const { return temporary_.path(); }
  /// Takes the place of the directory that was there at first, which is removed after that: at no time is
  /// there none. Whatever else has appeared there since is left alone: the new directory is kept beside it
  /// under another name, and the Error says which.
  void commit();

 private:
  [[noreturn]] void keep_beside(const char* what);
  bool swap();

  std::filesystem::path path_;
  std::string marker_;
  std::optional<std::pair<dev_t, ino_t>> before_;  ///< what `force` may replace
  Temporary temporary_;
};

/// For tests: as on a file system that can rename neither without replacing nor in exchange.
void set_plain_renames(bool plain);

}  // namespace outliers
