#include "outliers/io/hub_cache.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

/// "" for a variable that is not set; one that is set to nothing counts as not set.
std::string environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? "" : value;
}

bool is_true(std::string value) {
  for (char& c : value) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::string home() {
  if (std::string value = environment("HOME"); !value.empty()) return value;
  const passwd* entry = getpwuid(getuid());
  return entry == nullptr ? "/" : entry->pw_dir;
}

/// A leading ~ and $NAME or ${NAME}, as Python's expanduser and expandvars; a variable that is not set stays.
fs::path expanded(std::string text) {
  if (text == "~" || text.rfind("~/", 0) == 0) text = home() + text.substr(1);
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const bool braced = text.compare(i, 2, "${") == 0;
    const size_t begin = i + (braced ? 2 : 1);
    size_t end = begin;
    const auto word = [&](size_t at) {
      const auto byte = static_cast<unsigned char>(text[at]);
      return byte == '_' || std::isalnum(byte) != 0;
    };
    while (end < text.size() && (braced ? text[end] != '}' : word(end))) ++end;
    const std::string value = text[i] == '$' && end < text.size() + (braced ? 0 : 1)
                                  ? environment(text.substr(begin, end - begin))
                                  : "";
    if (value.empty()) {
      out += text[i++];
    } else {
      out += value;
      i = end + (braced ? 1 : 0);
    }
  }
  return out;
}

std::string read_all(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string without_space(std::string text) {
  const auto space = [](unsigned char c) { return std::isspace(c) != 0; };
  text.erase(std::find_if_not(text.rbegin(), text.rend(), space).base(), text.end());
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), space));
  return text;
}

void find_token(HubSettings& settings, const fs::path& hf_home) {
  if (is_true(environment("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return;
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    settings.token = without_space(environment(name));
    settings.token_source = name;
    if (!settings.token.empty()) break;
  }
  if (settings.token.empty()) {
    const std::string named = environment("HF_TOKEN_PATH");
    const fs::path path = named.empty() ? hf_home / "token" : expanded(named);
    settings.token = without_space(read_all(path));
    settings.token_source = path.string();
  }
  // It goes into a header, where a line break would begin another.
  const bool plain =
      std::all_of(settings.token.begin(), settings.token.end(), [](char c) { return c > ' ' && c < 0x7f; });
  require(plain, kArgument, "the token in {} is no token: it has characters that none has",
          settings.token_source);
}

std::chrono::seconds seconds_of(const char* name) {
  const std::string text = environment(name);
  if (text.empty()) return std::chrono::seconds(10);
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  require(*end == '\0' && value > 0 && value <= 86400, kArgument, "{}={} is no number of seconds", name,
          printable(text));
  return std::chrono::seconds(value);
}

void make_directories(const fs::path& path, const fs::path& root) {
  std::error_code ec;
  fs::create_directories(path, ec);
  require(!ec, not_written(ec.value()),
          "cannot write to the cache {}: {}; name another place with HF_HOME or HF_HUB_CACHE", root.string(),
          ec.message());
}

/// A file of a few bytes, whole or not at all.
bool write_small(const fs::path& path, const std::string& text) {
  std::error_code ec;
  fs::create_directories(path.parent_path(), ec);
  try {
    const Temporary temporary(path, Temporary::Kind::file, false);
    return write_all(temporary.fd(), text.data(), text.size()) == 0 &&
           ::rename(temporary.path().c_str(), path.c_str()) == 0;
  } catch (const Interrupted&) {
    throw;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

HubSettings HubSettings::from_environment() {
  HubSettings settings;
  settings.endpoint = environment("HF_ENDPOINT");
  if (settings.endpoint.empty()) settings.endpoint = "https://huggingface.co";
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  const std::string xdg = environment("XDG_CACHE_HOME"), named_home = environment("HF_HOME");
  const fs::path hf_home = !named_home.empty()
                               ? expanded(named_home)
                               : (xdg.empty() ? fs::path(home()) / ".cache" : expanded(xdg)) / "huggingface";
  settings.cache = hf_home / "hub";
  for (const char* name : {"HUGGINGFACE_HUB_CACHE", "HF_HUB_CACHE"}) {
    if (const std::string value = environment(name); !value.empty()) settings.cache = expanded(value);
  }
  find_token(settings, hf_home);
  const std::string offline = environment("HF_HUB_OFFLINE");
  settings.offline = is_true(offline.empty() ? environment("TRANSFORMERS_OFFLINE") : offline);
  settings.symlinks = !is_true(environment("HF_HUB_DISABLE_SYMLINKS"));
  settings.answer_timeout = seconds_of("HF_HUB_ETAG_TIMEOUT");
  settings.download_timeout = seconds_of("HF_HUB_DOWNLOAD_TIMEOUT");
  return settings;
}

bool is_commit(const std::string& revision) {
  return revision.size() == 40 && revision.find_first_not_of("0123456789abcdef") == std::string::npos;
}

HubCache::HubCache(const HubSettings& settings, const std::string& repository, bool data_set)
    : root_(settings.cache), symlinks_(settings.symlinks) {
  std::string folder = data_set ? "datasets--" : "models--";
  for (const char c : repository) folder += c == '/' ? "--" : std::string(1, c);
  repository_ = root_ / folder;
  locks_ = root_ / ".locks" / folder;
}

std::optional<std::string> HubCache::commit_of(const std::string& revision) const {
  if (is_commit(revision)) return revision;
  const std::string commit = without_space(read_all(repository_ / "refs" / revision));
  return is_commit(commit) ? std::optional(commit) : std::nullopt;
}

void HubCache::set_commit(const std::string& revision, const std::string& commit) const {
  if (revision != commit && commit_of(revision) != commit)
    write_small(repository_ / "refs" / revision, commit);
}

fs::path HubCache::snapshot(const std::string& commit) const {
  return repository_ / "snapshots" / commit;
}

std::vector<std::string> HubCache::files(const std::string& commit) const {
  std::vector<std::string> files;
  std::error_code ec;
  const fs::path directory = snapshot(commit);
  for (fs::recursive_directory_iterator at(directory, ec), end; !ec && at != end; at.increment(ec)) {
    // A link whose blob is gone is no file.
    if (std::error_code gone; fs::is_regular_file(at->path(), gone))
      files.push_back(at->path().lexically_relative(directory).generic_string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool HubCache::has(const std::string& commit, const std::string& file) const {
  std::error_code ec;
  return fs::is_regular_file(snapshot(commit) / file, ec);
}

bool HubCache::is_absent(const std::string& commit, const std::string& file) const {
  std::error_code ec;
  return fs::exists(repository_ / ".no_exist" / commit / file, ec);
}

void HubCache::set_absent(const std::string& commit, const std::string& file) const {
  if (!is_absent(commit, file)) write_small(repository_ / ".no_exist" / commit / file, "");
}

fs::path HubCache::blob(const std::string& etag) const {
  return repository_ / "blobs" / etag;
}

fs::path HubCache::lock(const std::string& etag) const {
  return locks_ / (etag + ".lock");
}

void HubCache::prepare(const std::string& commit, const std::string& file, const std::string& etag) const {
  make_directories(blob(etag).parent_path(), root_);
  make_directories(lock(etag).parent_path(), root_);
  make_directories((snapshot(commit) / file).parent_path(), root_);
  // Tells programs that make backups to leave the directory out (https://bford.info/cachedir/).
  std::error_code ec;
  if (!fs::exists(root_ / "CACHEDIR.TAG", ec))
    write_small(root_ / "CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
}

void HubCache::link(const std::string& commit, const std::string& file, const std::string& etag,
                    bool new_blob) const {
  const fs::path path = snapshot(commit) / file, target = blob(etag);
  std::error_code ec;
  if (symlinks_) {
    const fs::path temporary = path.string() + fmt::format(".{}.tmp", getpid());
    fs::remove(temporary, ec);
    fs::create_symlink(target.lexically_relative(path.parent_path()), temporary, ec);
    if (!ec) fs::rename(temporary, path, ec);
    if (!ec) return;
    fs::remove(temporary, ec);
  }
  ec.clear();
  if (new_blob) {
    fs::rename(target, path, ec);
  } else {
    fs::copy_file(target, path, fs::copy_options::overwrite_existing, ec);
  }
  require(!ec, not_written(ec.value()), "cannot write {}: {}", path.string(), ec.message());
}

FileLock::FileLock(const fs::path& path, const std::function<void()>& poll) {
  for (;;) {
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0664);
    const int error = errno;
    require(fd_ >= 0, not_written(error),
            "cannot write {}: {}; name another cache with HF_HOME or HF_HUB_CACHE", path.string(),
            std::strerror(error));
    while (flock(fd_, LOCK_EX | LOCK_NB) != 0 && (errno == EWOULDBLOCK || errno == EINTR)) {
      try {
        poll();
      } catch (...) {
        ::close(fd_);
        throw;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    // Whoever held it may have removed the file: then another one waits on a new file of the same name.
    struct stat here {
    }, there{};
    if (fstat(fd_, &here) == 0 && stat(path.c_str(), &there) == 0 && here.st_ino == there.st_ino) return;
    ::close(fd_);
  }
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace outliers::io
