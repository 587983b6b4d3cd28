#include "outliers/io/http.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <curl/curl.h>
#include <exception>
#include <memory>

#include <fmt/format.h>

namespace outliers::io {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kLargestBody = size_t{64} << 20;

/// What one exchange's callbacks share. An exception cannot pass through C, so it waits here.
struct Exchange {
  const HttpRequest* request;
  const std::function<void()>* poll;
  CURL* handle;
  HttpResponse response;
  std::exception_ptr thrown;
  Clock::time_point last_byte = Clock::now();
  bool idle = false;

  template <typename Action>
  bool guarded(Action&& action) {
    try {
      action();
      return true;
    } catch (...) {
      thrown = std::current_exception();
      return false;
    }
  }
};

std::string trimmed(std::string text) {
  const auto space = [](unsigned char c) { return std::isspace(c) != 0; };
  text.erase(std::find_if_not(text.rbegin(), text.rend(), space).base(), text.end());
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), space));
  return text;
}

size_t on_header(char* data, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(data, size * count);
  exchange.last_byte = Clock::now();
  const auto colon = line.find(':');
  if (line.rfind("HTTP/", 0) == 0) {
    exchange.response.headers.clear();  // what came before was a proxy's or an interim answer
  } else if (colon != std::string_view::npos) {
    std::string name(line.substr(0, colon));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    exchange.response.headers[name] = trimmed(std::string(line.substr(colon + 1)));
  }
  return line.size();
}

size_t on_body(char* data, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view bytes(data, size * count);
  exchange.last_byte = Clock::now();
  HttpResponse& response = exchange.response;
  curl_easy_getinfo(exchange.handle, CURLINFO_RESPONSE_CODE, &response.status);
  const bool taken = exchange.guarded([&] {
    if (response.ok() && exchange.request->sink) {
      exchange.request->sink(response, bytes);
    } else {
      require(response.body.size() + bytes.size() <= kLargestBody, kNetwork,
              "{} answers with more than {} MiB", exchange.request->url, kLargestBody >> 20);
      response.body += bytes;
    }
  });
  return taken ? bytes.size() : CURL_WRITEFUNC_ERROR;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& exchange = *static_cast<Exchange*>(user);
  exchange.idle = Clock::now() - exchange.last_byte > exchange.request->timeout;
  return exchange.guarded(*exchange.poll) && !exchange.idle ? 0 : 1;
}

bool never_connected(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:  // the only time limit set is that for connecting
    case CURLE_PROXY:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return true;
    default:
      return false;
  }
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The first of the variables that is set and not empty, or "".
std::string environment(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (std::string value = environment(name); !value.empty()) return value;
  }
  return "";
}

// libcurl looks for certificates where it was built to look; its users' variables are left to programs.
void set_certificates(CURL* handle) {
  const std::string file = environment({"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"});
  const std::string directory = environment("SSL_CERT_DIR");
  if (!file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, file.c_str());
  if (!directory.empty()) curl_easy_setopt(handle, CURLOPT_CAPATH, directory.c_str());
}

// libcurl does not read HTTP_PROXY in capitals, because a CGI server sets that from a request's header;
// Python's clients read it outside of CGI.
void set_proxy(CURL* handle, const std::string& url) {
  const bool set = !environment({"http_proxy", "all_proxy", "ALL_PROXY", "REQUEST_METHOD"}).empty();
  const std::string proxy = environment("HTTP_PROXY");
  if (url.rfind("http://", 0) == 0 && !set && !proxy.empty()) {
    curl_easy_setopt(handle, CURLOPT_PROXY, proxy.c_str());
  }
}

struct Slist {
  curl_slist* list = nullptr;
  explicit Slist(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) list = curl_slist_append(list, line.c_str());
  }
  ~Slist() { curl_slist_free_all(list); }
  Slist(const Slist&) = delete;
  Slist& operator=(const Slist&) = delete;
};

}  // namespace

std::string HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

HttpClient::HttpClient(std::function<void()> poll) : poll_(std::move(poll)) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  handle_ = started == CURLE_OK ? curl_easy_init() : nullptr;
  require(handle_ != nullptr, kNetwork, "libcurl cannot be started");
}

HttpClient::~HttpClient() {
  curl_easy_cleanup(handle_);
}

HttpResponse HttpClient::send(const HttpRequest& request) {
  CURL* handle = handle_;
  curl_easy_reset(handle);  // keeps the connections
  Exchange exchange{&request, &poll_, handle, {}, nullptr};
  exchange.response.origin = origin_of(request.url);
  char reason[CURL_ERROR_SIZE] = "";
  const Slist headers(request.headers);
  const long seconds = static_cast<long>(request.timeout.count());
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_NOBODY, request.method == "HEAD" ? 1L : 0L);
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.list);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "outliers");
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, seconds);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, reason);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 512L << 10);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &exchange);
  set_certificates(handle);
  set_proxy(handle, request.url);

  const CURLcode code = curl_easy_perform(handle);
  if (exchange.thrown) std::rethrow_exception(exchange.thrown);
  const std::string& host = exchange.response.origin;
  if (exchange.idle) {
    throw HttpFailure(fmt::format("{}: nothing came for {} s", host, seconds), true);
  }
  if (code != CURLE_OK) {
    const std::string why = printable(reason[0] != '\0' ? reason : curl_easy_strerror(code), 200);
    const bool untrusted = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
    throw HttpFailure(
        fmt::format(
            "{}: {}{}", host, why,
            untrusted ? "; if a certificate of your own is needed, name its file in SSL_CERT_FILE" : ""),
        !never_connected(code));
  }
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &exchange.response.status);
  const char* redirect = nullptr;
  curl_easy_getinfo(handle, CURLINFO_REDIRECT_URL, &redirect);
  if (redirect != nullptr) exchange.response.redirect = redirect;
  return std::move(exchange.response);
}

std::string origin_of(const std::string& url) {
  const std::unique_ptr<CURLU, void (*)(CURLU*)> parts(curl_url(), curl_url_cleanup);
  const auto part = [&](CURLUPart which, unsigned flags) {
    char* text = nullptr;
    const bool there = curl_url_get(parts.get(), which, &text, flags) == CURLUE_OK;
    std::string copy = there ? text : "";
    curl_free(text);
    return copy;
  };
  const bool parsed = curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), 0) == CURLUE_OK;
  const std::string scheme = parsed ? part(CURLUPART_SCHEME, 0) : "";
  require(scheme == "http" || scheme == "https", kArgument, "{} is no http or https address", printable(url));
  std::string host = part(CURLUPART_HOST, 0);
  for (char& c : host) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return fmt::format("{}://{}:{}", scheme, host, part(CURLUPART_PORT, CURLU_DEFAULT_PORT));
}

std::string url_quote(std::string_view text, std::string_view keep) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte < 0x80 && std::isalnum(byte) != 0) ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    if (plain || keep.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

}  // namespace outliers::io
