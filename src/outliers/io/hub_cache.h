// Where Hugging Face's tools keep what they fetch, and the settings they read from the environment: the same
// directory, layout and locks, so that files fetched by either are used by both;
// of models, as here, and in datasets--ORG--NAME of data sets:
//     models--ORG--NAME/refs/REVISION              the commit that a branch or tag was last seen at
//     models--ORG--NAME/blobs/ETAG                 content, by its hash
//     models--ORG--NAME/snapshots/COMMIT/FILE      a link to the blob
//     models--ORG--NAME/.no_exist/COMMIT/FILE      known not to exist
//     .locks/models--ORG--NAME/ETAG.lock           held while a blob is fetched
// Needs no network and no library.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace outliers::io {

struct HubSettings {
  std::string endpoint;  ///< HF_ENDPOINT, without a slash at its end
  std::filesystem::path
      cache;          ///< HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub
  std::string token;  ///< HF_TOKEN, HUGGING_FACE_HUB_TOKEN or the token file; "" for none
  std::string token_source;                   ///< the variable or file that the token came from
  bool offline = false;                       ///< HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE
  bool symlinks = true;                       ///< not HF_HUB_DISABLE_SYMLINKS
  std::chrono::seconds answer_timeout{10};    ///< HF_HUB_ETAG_TIMEOUT
  std::chrono::seconds download_timeout{10};  ///< HF_HUB_DOWNLOAD_TIMEOUT

  static HubSettings from_environment();
};

/// The cached files of one repository.
class HubCache {
 public:
  HubCache(const HubSettings& settings, const std::string& repository, bool data_set = false);

  /// A full commit is itself; a branch or tag is what it was when last seen; nullopt when it was not.
  std::optional<std::string> commit_of(const std::string& revision) const;
  /// Records what a revision is now. A cache that cannot be written to is left as it is.
  void set_commit(const std::string& revision, const std::string& commit) const;

  std::filesystem::path snapshot(const std::string& commit) const;
  /// Paths of the snapshot's files, relative to it, sorted; empty when there is no such snapshot.
  std::vector<std::string> files(const std::string& commit) const;
  bool has(const std::string& commit, const std::string& file) const;
  bool is_absent(const std::string& commit, const std::string& file) const;
  /// Records that the commit has no such file, as far as the cache can be written to.
  void set_absent(const std::string& commit, const std::string& file) const;

  std::filesystem::path blob(const std::string& etag) const;
  std::filesystem::path lock(const std::string& etag) const;
  /// Makes the directories of a blob, its lock and its link.
  void prepare(const std::string& commit, const std::string& file, const std::string& etag) const;
  /// Makes the snapshot's file a link to the blob, or the blob itself where links cannot be had.
  void link(const std::string& commit, const std::string& file, const std::string& etag, bool new_blob) const;

  const std::filesystem::path& root() const { return root_; }

 private:
  std::filesystem::path root_, repository_, locks_;
  bool symlinks_;
};

/// Whether a text is a commit in full: 40 lower-case hexadecimal digits.
bool is_commit(const std::string& revision);

/// Held against other processes that take it with flock, as Hugging Face's tools do. Where the file system
/// knows no locks, nothing is held.
class FileLock {
 public:
  /// Waits, and calls `poll` while it does.
  FileLock(const std::filesystem::path& path, const std::function<void()>& poll);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace outliers::io
