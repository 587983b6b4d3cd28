// One file of the Hub: what it says about it, and its way into the cache - going on where a broken transfer
// stopped, and with its hash checked before it gets its name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace outliers::io {

class HubClient;

/// What the Hub says about one file before it sends it.
struct Described {
  std::string name, etag = {}, url = {};
  uint64_t size = 0, have = 0;  ///< bytes; those already there from an earlier, broken transfer
};

/// Throws where the answer names no hash and length as a Hub does.
Described describe(HubClient& client, const std::string& commit, const std::string& file);

/// Fetches what is still missing of a blob; `got` is told of every byte, and of bytes that have to come
/// again.
void download(HubClient& client, const Described& file, const std::filesystem::path& blob,
              const std::function<void(int64_t)>& got);

/// How many of a blob's `size` bytes are there: all, or those of a transfer that broke off.
uint64_t bytes_there(const std::filesystem::path& blob, uint64_t size);

}  // namespace outliers::io
