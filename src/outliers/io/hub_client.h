// Talks with the Hub about one repository: who sees the token, which answers are worth another try, and what
// a refusal means to the user.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "outliers/io/http.h"
#include "outliers/io/hub_remote.h"

namespace outliers::io {

/// Sends to the Hub with the token, and to others without; tries again what may go away. One thread at a
/// time.
class HubClient {
 public:
  static constexpr int kTries = 6;

  /// Settings and name outlive the client. `poll` is called as HttpClient says.
  HubClient(const HubSettings& settings, const HubName& name, std::function<void()> poll);

  void poll() const { http_.poll(); }
  const HubSettings& settings() const { return settings_; }
  const HubName& name() const { return name_; }

  /// Follows redirects: all of them for GET; for HEAD up to the answer that describes the file.
  HttpResponse exchange(HttpRequest request);
  /// Ends with the answer to keep: any but one that may be another next time. Throws HubUnavailable when the
  /// tries are used up, HttpFailure at once where there is no network.
  HttpResponse persistent(const HttpRequest& request);
  /// Waits before another try, as long as the answer asks for, else longer each time.
  void wait(int failures, const HttpResponse* response);
  /// What a refusal means: by the Hub's X-Error-Code, where it is the Hub that refuses.
  [[noreturn]] void refuse(const HttpResponse& response, const std::string& file) const;

 private:
  const HubSettings& settings_;
  const HubName& name_;
  HttpClient http_;
  std::string home_;
};

/// Whether the answer to the same question may be another in a while.
bool worth_another_try(long status);
/// A header's value as a whole number.
std::optional<uint64_t> header_number(const std::string& text);

}  // namespace outliers::io
