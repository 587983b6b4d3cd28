#include "outliers/core/output.h"

#include <cerrno>
#include <cstring>
#include <system_error>
#include <unistd.h>

#include "outliers/core/error.h"

namespace outliers {
namespace fs = std::filesystem;
namespace {

fs::path temporary_beside(const fs::path& path) {
  // "dir/" and "dir" name the same place.
  fs::path clean = path.lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  return clean.parent_path() / fmt::format(".{}.partial-{}", clean.filename().string(), getpid());
}

void check_absent(const fs::path& path, bool force) {
  std::error_code ec;
  const bool exists = fs::exists(fs::symlink_status(path, ec));
  require(!exists || force, "{} exists already; choose another place, or replace it with --force",
          path.string());
}

}  // namespace

OutputFile::OutputFile(fs::path path, bool force) : path_(std::move(path)) {
  check_absent(path_, force);
  require(!fs::is_directory(path_), "{} is a directory; name a file", path_.string());
  temporary_ = temporary_beside(path_);
  file_ = std::fopen(temporary_.c_str(), "wb");
  require(file_ != nullptr, "cannot write {}: {}", path_.string(), std::strerror(errno));
}

OutputFile::~OutputFile() {
  if (file_ != nullptr) {
    std::fclose(file_);
    std::error_code ec;
    fs::remove(temporary_, ec);
  }
}

void OutputFile::write(const void* data, size_t bytes) {
  require(std::fwrite(data, 1, bytes, file_) == bytes,
          "cannot write {}: {}; free some space or choose another place", path_.string(),
          std::strerror(errno));
  bytes_ += bytes;
}

void OutputFile::commit() {
  const bool flushed = std::fflush(file_) == 0 && fsync(fileno(file_)) == 0;
  require(flushed, "cannot write {}: {}; free some space or choose another place", path_.string(),
          std::strerror(errno));
  std::FILE* file = file_;
  require(std::fclose(file) == 0, "cannot write {}: {}", path_.string(), std::strerror(errno));
  file_ = nullptr;
  std::error_code ec;
  fs::rename(temporary_, path_, ec);
  if (ec) {
    std::error_code ignored;
    fs::remove(temporary_, ignored);
    fail("cannot write {}: {}", path_.string(), ec.message());
  }
}

OutputDirectory::OutputDirectory(fs::path path, bool force, const std::string& marker)
    : path_(path.lexically_normal()) {
  if (!path_.has_filename()) path_ = path_.parent_path();
  check_absent(path_, force);
  std::error_code unreadable;
  require(
      !fs::is_directory(path_) || fs::is_empty(path_, unreadable) || fs::exists(path_ / marker, unreadable),
      "{} has no {} in it, so --force does not replace it; remove it by hand or choose another place",
      path_.string(), marker);
  temporary_ = temporary_beside(path_);
  std::error_code ec;
  fs::remove_all(temporary_, ec);
  fs::create_directories(temporary_.parent_path().empty() ? fs::path(".") : temporary_.parent_path(), ec);
  fs::create_directory(temporary_, ec);
  require(!ec && fs::is_directory(temporary_), "cannot create {}: {}; choose another place with -o",
          path_.string(), ec ? ec.message() : "unknown reason");
}

OutputDirectory::~OutputDirectory() {
  if (!committed_) {
    std::error_code ec;
    fs::remove_all(temporary_, ec);
  }
}

void OutputDirectory::commit() {
  std::error_code ec;
  const fs::path old = temporary_.string() + ".old";
  const bool replaces = fs::exists(fs::symlink_status(path_, ec));
  if (replaces) {
    fs::rename(path_, old, ec);
    require(!ec, "cannot replace {}: {}", path_.string(), ec.message());
  }
  fs::rename(temporary_, path_, ec);
  if (ec) {
    std::error_code ignored;
    if (replaces) fs::rename(old, path_, ignored);
    fail("cannot write {}: {}", path_.string(), ec.message());
  }
  committed_ = true;
  if (replaces) fs::remove_all(old, ec);
}

}  // namespace outliers
