#include "outliers/io/hub_client.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>

#include "outliers/core/error.h"

namespace outliers::io {
namespace {

constexpr int kRedirects = 10;
constexpr std::chrono::seconds kLongestWait{310};  // the Hub counts requests in windows of five minutes

/// The wait that an answer asks for: Retry-After in seconds, or the t of `ratelimit: "api";r=0;t=55`.
std::optional<std::chrono::seconds> asked_wait(const HttpResponse& response) {
  const std::string limit = response.header("ratelimit");
  if (const auto t = limit.find(";t=");
      response.status == 429 && limit.find(";r=0;") != std::string::npos && t != std::string::npos) {
    if (const auto seconds = header_number(limit.substr(t + 3))) return std::chrono::seconds(*seconds + 1);
  }
  const auto seconds = header_number(response.header("retry-after"));
  return seconds && *seconds < 1000000 ? std::optional(std::chrono::seconds(*seconds)) : std::nullopt;
}

}  // namespace

std::optional<uint64_t> header_number(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty() ? std::optional(value)
                                                                                   : std::nullopt;
}

bool worth_another_try(long status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

HubClient::HubClient(const HubSettings& settings, const HubName& name, std::function<void()> poll)
    : settings_(settings), name_(name), http_(std::move(poll)), home_(origin_of(settings.endpoint)) {}

HttpResponse HubClient::exchange(HttpRequest request) {
  const std::vector<std::string> headers = request.headers;
  for (int i = 0; i < kRedirects; ++i) {
    const std::string origin = origin_of(request.url);
    request.headers = headers;
    request.headers.emplace_back("Accept-Encoding: identity");
    if (origin == home_ && !settings_.token.empty())
      request.headers.push_back("Authorization: Bearer " + settings_.token);
    HttpResponse response = http_.send(request);
    if (response.redirect.empty()) return response;
    const std::string next = origin_of(response.redirect);
    if (request.method == "HEAD" && next != home_ && !response.header("x-repo-commit").empty())
      return response;
    require(next.starts_with("https:") || origin.starts_with("http:"),
            "{} redirects to {}, which is not encrypted", origin, next);
    request.url = response.redirect;
  }
  fail(kNetwork, "{}: more than {} redirects at {}", name_.text(), kRedirects, home_);
}

HttpResponse HubClient::persistent(const HttpRequest& request) {
  for (int failures = 0;;) {
    std::optional<HttpResponse> response;
    try {
      response = exchange(request);
      if (!worth_another_try(response->status)) return *response;
    } catch (const HttpFailure& failure) {
      if (!failure.answered() || failures + 1 >= kTries) throw;
    }
    wait(++failures, response ? &*response : nullptr);
  }
}

void HubClient::wait(int failures, const HttpResponse* response) {
  std::chrono::milliseconds pause(250 << std::min(failures, 5));
  const auto asked = response == nullptr ? std::nullopt : asked_wait(*response);
  if (asked) pause = *asked;
  if (response != nullptr && (failures >= kTries || (asked && *asked > kLongestWait))) {
    const std::string again =
        asked && *asked > std::chrono::seconds(1) ? fmt::format("in {} s", asked->count()) : "later";
    throw HubUnavailable(
        response->status == 429
            ? fmt::format("{}: {} lets nothing through: too many requests; try again {}{}", name_.text(),
                          home_, again, settings_.token.empty() ? ", or set HF_TOKEN" : "")
            : fmt::format("{}: {} answers {}; try again {}", name_.text(), home_, response->status, again));
  }
  for (const auto end = std::chrono::steady_clock::now() + pause; std::chrono::steady_clock::now() < end;) {
    http_.poll();
    std::this_thread::sleep_for(std::min(pause, std::chrono::milliseconds(50)));
  }
}

void HubClient::refuse(const HttpResponse& response, const std::string& file) const {
  if (response.origin != home_)
    fail(kNetwork, "{}: {} answers {} for {}; try again later", name_.text(), response.origin,
         response.status, printable(file));
  const std::string code = response.header("x-error-code"),
                    message = printable(response.header("x-error-message"), 200);
  const std::string page = settings_.endpoint + "/" + name_.page();
  const bool token = !settings_.token.empty();
  if (code == "RevisionNotFound")
    fail(not_read(ENOENT), "{} has no branch, tag or commit {}; see {}", page, printable(name_.revision),
         page + "/tree/main");
  if (code == "EntryNotFound")
    fail(not_read(ENOENT), "{} has no file {} at {}; see {}", page, printable(file),
         printable(name_.revision), page + "/tree/" + name_.revision);
  if (code == "GatedRepo") {
    throw HubUnavailable(
        token ? fmt::format("{} is gated, and the token in {} has no access to it; ask for access at {}",
                            name_.repository, settings_.token_source, page)
              : fmt::format("{} is gated: ask for access at {}, then set HF_TOKEN to a token of yours (or "
                            "hf auth login)",
                            name_.repository, page));
  }
  if (response.status == 401 && message == "Invalid credentials in Authorization header")
    throw HubUnavailable(fmt::format("{}: {} does not know the token in {}; renew or unset it", name_.text(),
                                     settings_.endpoint, settings_.token_source));
  // Who has no token is told 401 of what does not exist, and of what is private.
  if (code == "RepoNotFound" || (code.empty() && response.status == 401)) {
    throw HubUnavailable(fmt::format("{} {} has no such repository{}", name_.missing(), settings_.endpoint,
                                     token
                                         ? fmt::format(", or not for the token in {}", settings_.token_source)
                                         : "; a private one needs HF_TOKEN"));
  }
  throw HubUnavailable(fmt::format("{}: {} answers {}{}", name_.text(), settings_.endpoint, response.status,
                                   message.empty() ? "" : ": " + message));
}

}  // namespace outliers::io
