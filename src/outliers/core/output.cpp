#include "outliers/core/output.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <set>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/warning.h"

namespace outliers {
namespace fs = std::filesystem;
namespace {

const Cause kOutput{ErrorKind::output};

using Identity = std::pair<dev_t, ino_t>;

bool g_plain_renames = false;

/// What stands at the path itself (no link is followed), if anything.
std::optional<struct stat> status_of(const fs::path& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 ? std::optional(status) : std::nullopt;
}

std::optional<Identity> identity_of(const fs::path& path) {
  const auto status = status_of(path);
  return status ? std::optional(Identity(status->st_dev, status->st_ino)) : std::nullopt;
}

/// "dir/" and "dir" name the same place.
fs::path clean(const fs::path& path) {
  const fs::path normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

fs::path parent_of(const fs::path& path) {
  return path.parent_path().empty() ? fs::path(".") : path.parent_path();
}

constexpr std::string_view kLetters = "0123456789abcdefghijklmnopqrstuvwxyz";
constexpr size_t kRandom = 8;

std::string random_letters() {
  std::array<unsigned char, kRandom> bytes{};
  require(getentropy(bytes.data(), bytes.size()) == 0, not_written(errno),
          "the system gives no random numbers");
  std::string letters;
  for (const unsigned char byte : bytes) letters += kLetters[byte % kLetters.size()];
  return letters;
}

/// Less process and random letters. Names have 255 bytes at most.
std::string prefix_of(const fs::path& place) {
  return fmt::format(".{}.partial-", place.filename().string().substr(0, 200));
}

/// The process in a temporary's name, or 0 for another name.
long process_in(const std::string& name, const std::string& prefix) {
  if (!name.starts_with(prefix)) return 0;
  const std::string rest = name.substr(prefix.size());
  const size_t dash = rest.find('-');
  const bool matches = dash != std::string::npos && dash > 0 && dash < 11 &&
                       rest.find_first_not_of("0123456789") == dash && rest.size() == dash + 1 + kRandom &&
                       rest.find_first_not_of(kLetters, dash + 1) == std::string::npos;
  return matches ? std::strtol(rest.c_str(), nullptr, 10) : 0;
}

/// Closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

void clear_stale(const fs::path& place, bool alone) {
  const std::string prefix = prefix_of(place);
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(parent_of(place), ec)) {
    const long process = process_in(entry.path().filename().string(), prefix);
    if (process == 0) continue;
    const Descriptor found(open(entry.path().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat status {};
    if (found.get() < 0 || fstat(found.get(), &status) != 0 || status.st_uid != geteuid()) continue;
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) continue;
    if (flock(found.get(), LOCK_EX | LOCK_NB) != 0) {
      require(errno != EWOULDBLOCK || !alone, kOutput,
              "{} is being written by process {}; wait for it, or choose another place", place.string(),
              process);
      continue;
    }
    std::error_code failed;
    fs::remove_all(entry.path(), failed);
    if (!failed) warn("removed {}, which a run that was killed had left", entry.path().string());
  }
}

/// Temporary directories that are being filled: what is in them is not yet in its place.
struct Filling {
  std::mutex mutex;
  std::set<std::string> paths;
};
Filling& filling() {
  static Filling instance;
  return instance;
}

bool unknown_to_file_system(int error) {
  return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP;
}

int rename_by(const fs::path& from, const fs::path& to, unsigned flags) {
  if (g_plain_renames && flags != 0) return EINVAL;
  return renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0 ? 0 : errno;
}

/// Renames to a name that nothing has. Returns 0 or an errno.
int rename_new(const fs::path& from, const fs::path& to) {
  const int error = rename_by(from, to, RENAME_NOREPLACE);
  if (!unknown_to_file_system(error)) return error;
  // The name is taken first by an empty thing of our own, which is what the rename then replaces: a directory
  // is never renamed over one that has something in it.
  const auto status = status_of(from);
  const bool directory = status && S_ISDIR(status->st_mode);
  if (directory) {
    if (mkdir(to.c_str(), 0777) != 0) return errno;
  } else {
    const int claim = open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (claim < 0) return errno;
    ::close(claim);
  }
  if (rename(from.c_str(), to.c_str()) == 0) return 0;
  const int failed = errno;
  if (directory) {
    rmdir(to.c_str());
  } else {
    unlink(to.c_str());
  }
  return failed;
}

void check_absent(const fs::path& path, bool force) {
  require(!status_of(path) || force, Cause{ErrorKind::output, {Setting::replace}, EEXIST},
          "{} exists already; choose another place, or have it replaced", path.string());
}

fs::path checked_file(fs::path path, bool force) {
  path = clean(path);
  check_absent(path, force);
  std::error_code ec;
  require(!fs::is_directory(path, ec), not_written(EISDIR), "{} is a directory; name a file", path.string());
  const auto status = status_of(path);
  require(!status || S_ISREG(status->st_mode) || S_ISLNK(status->st_mode), kOutput,
          "{} is no regular file, which is never replaced; name a file", path.string());
  return path;
}

bool may_be_replaced(const fs::path& directory, const std::string& marker) {
  std::error_code ec;
  return fs::is_directory(fs::symlink_status(directory, ec)) &&
         (fs::is_empty(directory, ec) || fs::exists(directory / marker, ec));
}

fs::path checked_directory(fs::path path, bool force, const std::string& marker) {
  path = clean(path);
  check_absent(path, force);
  std::error_code ec;
  // A link stays: what it points to is replaced.
  if (fs::is_symlink(path, ec) && fs::is_directory(path, ec)) path = fs::canonical(path, ec);
  if (status_of(path)) {
    require(fs::is_directory(path, ec), kOutput,
            "{} is no directory, which is never replaced by one; choose another place", path.string());
    require(may_be_replaced(path, marker), kOutput,
            "{} has no {} in it, so it is not replaced; remove it by hand or choose another place",
            path.string(), marker);
  }
  fs::create_directories(parent_of(path), ec);
  require(!ec, Cause{ErrorKind::output, {Setting::output}, ec.value()},
          "cannot create {}: {}; choose another place", path.string(), ec.message());
  return path;
}

}  // namespace

void set_plain_renames(bool plain) {
  g_plain_renames = plain;
}

int write_all(int fd, const void* data, size_t bytes) {
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t wrote = interruptible([&] { return ::write(fd, from, bytes); });
    if (wrote <= 0) return wrote < 0 ? errno : ENOSPC;
    from += wrote;
    bytes -= static_cast<size_t>(wrote);
  }
  return 0;
}

void print(std::string_view text) {
  const int error = write_all(STDOUT_FILENO, text.data(), text.size());
  require(error == 0, not_written(error), "cannot write to standard output: {}", std::strerror(error));
}

void fail_to_write(const fs::path& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  fail(not_written(error), "cannot write {}: {}{}", path.string(), std::strerror(error),
       full ? "; free some space or choose another place" : "");
}

Temporary::Temporary(const fs::path& place, Kind kind, bool alone) : kind_(kind) {
  clear_stale(place, alone);
  for (;;) {
    path_ = place.parent_path() / fmt::format("{}{}-{}", prefix_of(place), getpid(), random_letters());
    if (kind == Kind::directory) {
      if (mkdir(path_.c_str(), 0777) != 0) {
        if (errno == EEXIST) continue;
        const int error = errno;
        fail(not_written(error), "cannot create {}: {}; choose another place", place.string(),
             std::strerror(error));
      }
      fd_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    } else {
      fd_ = interruptible(
          [&] { return open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666); });
      if (fd_ < 0 && errno == EEXIST) continue;
    }
    if (fd_ < 0) fail_to_write(place, errno);
    // Between the two calls another run may have taken it for one that was left; then it is gone.
    const bool locked = flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
    struct stat status {};
    if (locked && fstat(fd_, &status) == 0 && identity_of(path_) == Identity(status.st_dev, status.st_ino))
      break;
    ::close(fd_);
  }
  if (kind != Kind::directory) return;
  Filling& all = filling();
  const std::lock_guard<std::mutex> hold(all.mutex);
  all.paths.insert(path_.string());
}

void Temporary::remove() {
  std::error_code ec;
  fs::remove_all(path_, ec);
  release();
}

Temporary::~Temporary() {
  if (owned_) remove();
  ::close(fd_);
  Filling& all = filling();
  const std::lock_guard<std::mutex> hold(all.mutex);
  all.paths.erase(path_.string());
}

int Temporary::move_to(const fs::path& place) {
  const int error = rename_new(path_, place);
  if (error == 0) release();
  return error;
}

fs::path Temporary::keep_beside(const fs::path& place) {
  for (int number = 1;; ++number) {
    const fs::path ending = kind_ == Kind::file ? place.extension() : fs::path();
    const fs::path stem = kind_ == Kind::file ? place.stem() : place.filename();
    const fs::path other =
        place.parent_path() / fmt::format("{}.{}{}", stem.string(), number, ending.string());
    const int error = move_to(other);
    if (error == 0) return other;
    if (error != EEXIST) fail_to_write(other, error);
  }
}

void Temporary::note_complete(const fs::path& path) {
  {
    Filling& all = filling();
    const std::lock_guard<std::mutex> hold(all.mutex);
    for (const std::string& directory : all.paths) {
      if (path.string().starts_with(directory + "/")) return;
    }
  }
  note_written(path.string());
}

OutputFile::OutputFile(fs::path path, bool force)
    : path_(checked_file(std::move(path), force)),
      force_(force),
      temporary_(path_, Temporary::Kind::file, true) {}

void OutputFile::flush() {
  const int error = write_all(temporary_.fd(), buffer_.data(), buffer_.size());
  if (error != 0) fail_to_write(path_, error);
  buffer_.clear();
}

void OutputFile::write(const void* data, size_t bytes) {
  constexpr size_t most = size_t{1} << 20;
  if (buffer_.size() + bytes > most) flush();
  if (bytes > most) {
    const int error = write_all(temporary_.fd(), data, bytes);
    if (error != 0) fail_to_write(path_, error);
  } else {
    buffer_.append(static_cast<const char*>(data), bytes);
  }
  bytes_ += bytes;
}

void OutputFile::commit() {
  flush();
  if (interruptible([&] { return fsync(temporary_.fd()); }) != 0) fail_to_write(path_, errno);
  if (force_) {
    if (const int error = rename_by(temporary_.path(), path_, 0); error != 0) fail_to_write(path_, error);
    temporary_.release();
  } else if (const int error = temporary_.move_to(path_); error == EEXIST) {
    fail(not_written(EEXIST), "{} has appeared while this ran, and stays; what should be there is in {}",
         path_.string(), temporary_.keep_beside(path_).string());
  } else if (error != 0) {
    fail_to_write(path_, error);
  }
  Temporary::note_complete(path_);
}

OutputDirectory::OutputDirectory(fs::path path, bool force, std::string marker)
    : path_(checked_directory(std::move(path), force, marker)),
      marker_(std::move(marker)),
      before_(identity_of(path_)),
      temporary_(path_, Temporary::Kind::directory, true) {}

void OutputDirectory::keep_beside(const char* what) {
  fail(not_written(EEXIST), "{} has {} while this ran, and stays; what should be there is in {}",
       path_.string(), what, temporary_.keep_beside(path_).string());
}

/// Puts the new directory into the old one's place and removes that; false where another one stood there.
bool OutputDirectory::swap() {
  const auto is_ours = [&](const fs::path& place) {
    return identity_of(place) == before_ && may_be_replaced(place, marker_);
  };
  int error = rename_by(temporary_.path(), path_, RENAME_EXCHANGE);
  if (error == 0) {
    // The old one has the temporary's name now. Judged here, where nobody replaces it any more.
    if (!is_ours(temporary_.path())) {
      error = rename_by(temporary_.path(), path_, RENAME_EXCHANGE);
      if (error != 0) fail_to_write(path_, error);
      return false;
    }
    temporary_.remove();
    return true;
  }
  if (error == ENOENT) {  // the old one is gone
    error = temporary_.move_to(path_);
    if (error == 0) return true;
    if (error == EEXIST) return false;
    fail_to_write(path_, error);
  }
  if (!unknown_to_file_system(error)) fail_to_write(path_, error);
  if (!is_ours(path_)) return false;
  // Not the name of a temporary: killed between the two calls, the old one is all there is.
  const fs::path old = fmt::format("{}.old-{}", path_.string(), random_letters());
  if (error = rename_new(path_, old); error != 0) fail_to_write(path_, error);
  error = temporary_.move_to(path_);
  if (error != 0) rename_new(old, path_);
  if (error == EEXIST) return false;
  if (error != 0) fail_to_write(path_, error);
  std::error_code ec;
  fs::remove_all(old, ec);
  return true;
}

void OutputDirectory::commit() {
  if (before_) {
    if (!swap()) keep_beside("been replaced");
  } else if (const int error = temporary_.move_to(path_); error == EEXIST) {
    keep_beside("appeared");
  } else if (error != 0) {
    fail_to_write(path_, error);
  }
  Temporary::note_complete(path_);
}

}  // namespace outliers
