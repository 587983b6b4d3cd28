// One HTTP exchange at a time, over libcurl: what a downloader needs and no more. Follows no redirect and
// retries nothing by itself; who may see a token and what is worth a second try is the caller's business.
// Obeys http_proxy, HTTPS_PROXY, ALL_PROXY and NO_PROXY, and finds certificates where SSL_CERT_FILE,
// SSL_CERT_DIR, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE say.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/core/error.h"

namespace outliers::io {

struct HttpResponse {
  long status = 0;
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;                            ///< of an answer that went to no sink
  std::string origin;                          ///< who answered
  std::string redirect;                        ///< absolute URL of a 3xx answer's Location, else ""

  bool ok() const { return status >= 200 && status < 300; }
  /// "" when the answer has no such header.
  std::string header(const std::string& name) const;
};

struct HttpRequest {
  std::string method = "GET";  ///< GET or HEAD
  std::string url;
  std::vector<std::string> headers;  ///< "Name: value"
  std::chrono::seconds timeout{10};  ///< to connect, and without a byte
  /// Takes the body of a 2xx answer piece by piece; status and headers are complete. May throw.
  std::function<void(const HttpResponse&, std::string_view)> sink;
};

/// No answer, or one that broke off.
class HttpFailure : public Error {
 public:
  HttpFailure(const std::string& message, bool answered)
      : Error(message, {ErrorKind::network}), answered_(answered) {}
  /// False when no connection came about: no network, a wrong name, nobody listening, no trust.
  bool answered() const { return answered_; }

 private:
  bool answered_;
};

/// Keeps connections open between exchanges. One thread at a time.
class HttpClient {
 public:
  /// `poll` is called about once a second, and more often while bytes come; what it throws ends the exchange.
  explicit HttpClient(std::function<void()> poll);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Any status is an answer. Throws HttpFailure, or what `poll` or the sink threw.
  HttpResponse send(const HttpRequest& request);
  void poll() const { poll_(); }

 private:
  std::function<void()> poll_;
  void* handle_;
};

/// "https://host:port" of a URL, port always written; throws for one that is no http or https URL.
std::string origin_of(const std::string& url);
/// Percent-encodes all but letters, digits and "-._~", and the characters of `keep`.
std::string url_quote(std::string_view text, std::string_view keep = "");

}  // namespace outliers::io
