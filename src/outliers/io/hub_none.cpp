// Stands in for hub_remote.cpp where libcurl or OpenSSL is not there: the cache works, nothing can be
// fetched.
#include "outliers/io/hub_remote.h"

namespace outliers::io {

HubRemote::HubRemote(HubSettings settings, HubName name)
    : settings_(std::move(settings)),
      name_(std::move(name)),
      cache_(settings_, name_.repository, name_.data_set) {}

bool HubRemote::available() {
  return false;
}

HubListing HubRemote::list() {
  throw HubUnavailable(
      fmt::format("{} it is not in the cache {}, and this build cannot fetch it; build with "
                  "libcurl4-openssl-dev and libssl-dev installed, or fetch it with: hf download {}{}",
                  name_.missing(), settings_.cache.string(), name_.repository,
                  name_.data_set ? " --repo-type dataset" : ""));
}

void HubRemote::fetch(const std::string&, const std::vector<std::string>&) {
  list();
}

}  // namespace outliers::io
