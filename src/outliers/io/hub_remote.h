// The Hub's side: what a repository holds, and fetching from it into the cache - in parallel, going on where
// a broken transfer stopped, and with every file's hash checked before it gets its name. Large files come by
// the ordinary redirect, those kept in Xet storage too. The token is shown to the endpoint's own origin only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "outliers/core/error.h"
#include "outliers/io/hub_cache.h"

namespace outliers::io {

/// A repository, or what is wanted of it. Of models ORG/NAME[@REVISION][:FILE], or NAME alone for the oldest
/// ones; of data sets hf://datasets/ORG/NAME[@REVISION]/FILE.
struct HubName {
  std::string repository, revision = "main", file;
  bool data_set = false;
  std::string text() const;  ///< as a user writes it
  std::string missing()
      const;  ///< begins a message: what was asked for, and, where it could be a path, that none is here
  std::string page() const;  ///< the repository's path on the Hub's site
};

struct HubFile {
  std::string name;              ///< path in the repository
  std::optional<uint64_t> size;  ///< where the Hub says it
};

struct HubListing {
  std::string commit;
  std::vector<HubFile> files;
};

/// The Hub does not answer, or not to us: the cache may still have what is wanted.
class HubUnavailable : public Error {
 public:
  explicit HubUnavailable(const std::string& message) : Error(message, {ErrorKind::network}) {}
};

class HubRemote {
 public:
  HubRemote(HubSettings settings, HubName name);

  /// Throws HubUnavailable, or an Error where the repository has no such revision.
  HubListing list();
  /// Fetches the files that the cache lacks. What was fetched of a file stays, for the next time, when this
  /// throws.
  void fetch(const std::string& commit, const std::vector<std::string>& files);

  /// False in a build without libcurl, where list() and fetch() say so.
  static bool available();

 private:
  HubSettings settings_;
  HubName name_;
  HubCache cache_;
};

}  // namespace outliers::io
