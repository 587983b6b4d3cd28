#include "outliers/io/hub_remote.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <functional>
#include <mutex>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "outliers/core/interrupt.h"
#include "outliers/core/json.h"
#include "outliers/core/output.h"
#include "outliers/core/progress.h"
#include "outliers/core/suggest.h"
#include "outliers/io/digest.h"
#include "outliers/io/http.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

constexpr size_t kWorkers = 8;
constexpr uint64_t kLargestFile = uint64_t{1} << 50;  // so that sums of sizes cannot overflow
constexpr int kTries = 6, kRedirects = 10;
constexpr std::chrono::seconds kLongestWait{310};  // the Hub counts requests in windows of five minutes

/// Thrown in a worker when another one has failed; never seen outside.
struct Stopped {};

std::optional<uint64_t> number(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty() ? std::optional(value)
                                                                                   : std::nullopt;
}

std::string megabytes(uint64_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

bool worth_another_try(long status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

/// The wait that an answer asks for: Retry-After in seconds, or the t of `ratelimit: "api";r=0;t=55`.
std::optional<std::chrono::seconds> asked_wait(const HttpResponse& response) {
  const std::string limit = response.header("ratelimit");
  if (const auto t = limit.find(";t=");
      response.status == 429 && limit.find(";r=0;") != std::string::npos && t != std::string::npos) {
    if (const auto seconds = number(limit.substr(t + 3))) return std::chrono::seconds(*seconds + 1);
  }
  const auto seconds = number(response.header("retry-after"));
  return seconds && *seconds < 1000000 ? std::optional(std::chrono::seconds(*seconds)) : std::nullopt;
}

/// `"abc"` and `W/"abc"` name abc.
std::string plain_etag(std::string etag) {
  if (etag.rfind("W/", 0) == 0) etag.erase(0, 2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return etag;
}

/// Sends to the Hub with the token, and to others without; tries again what may go away.
class Client {
 public:
  Client(const HubSettings& settings, const HubName& name, std::function<void()> poll)
      : settings_(settings), name_(name), http_(std::move(poll)), home_(origin_of(settings.endpoint)) {}

  void poll() const { http_.poll(); }

  /// Follows redirects: all of them for GET; for HEAD up to the answer that describes the file.
  HttpResponse exchange(HttpRequest request) {
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
    fail("{}: more than {} redirects at {}", name_.text(), kRedirects, home_);
  }

  /// Ends with the answer to keep: any but one that may be another next time. Throws HubUnavailable when the
  /// tries are used up, HttpFailure at once where there is no network.
  HttpResponse persistent(const HttpRequest& request) {
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

  /// Waits before another try, as long as the answer asks for, else longer each time.
  void wait(int failures, const HttpResponse* response) {
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

  /// What a refusal means: by the Hub's X-Error-Code, where it is the Hub that refuses.
  [[noreturn]] void refuse(const HttpResponse& response, const std::string& file) const {
    if (response.origin != home_)
      fail("{}: {} answers {} for {}; try again later", name_.text(), response.origin, response.status,
           printable(file));
    const std::string code = response.header("x-error-code"),
                      message = printable(response.header("x-error-message"), 200);
    const std::string page = settings_.endpoint + "/" + name_.repository;
    const bool token = !settings_.token.empty();
    if (code == "RevisionNotFound")
      fail("{} has no branch, tag or commit {}; see {}", page, printable(name_.revision),
           page + "/tree/main");
    if (code == "EntryNotFound")
      fail("{} has no file {} at {}; see {}", page, printable(file), printable(name_.revision),
           page + "/tree/" + name_.revision);
    if (code == "GatedRepo") {
      throw HubUnavailable(
          token ? fmt::format("{} is gated, and the token in {} has no access to it; ask for access at {}",
                              name_.repository, settings_.token_source, page)
                : fmt::format("{} is gated: ask for access at {}, then set HF_TOKEN to a token of yours (or "
                              "hf auth login)",
                              name_.repository, page));
    }
    if (response.status == 401 && message == "Invalid credentials in Authorization header")
      throw HubUnavailable(fmt::format("{}: {} does not know the token in {}; renew or unset it",
                                       name_.text(), settings_.endpoint, settings_.token_source));
    // Who has no token is told 401 of what does not exist, and of what is private.
    if (code == "RepoNotFound" || (code.empty() && response.status == 401)) {
      throw HubUnavailable(
          fmt::format("{}: no such file or directory here, and {} has no such repository{}", name_.text(),
                      settings_.endpoint,
                      token ? fmt::format(", or not for the token in {}", settings_.token_source)
                            : "; a private one needs HF_TOKEN"));
    }
    throw HubUnavailable(fmt::format("{}: {} answers {}{}", name_.text(), settings_.endpoint, response.status,
                                     message.empty() ? "" : ": " + message));
  }

 private:
  const HubSettings& settings_;
  const HubName& name_;
  HttpClient http_;
  std::string home_;
};

/// What the Hub says about one file before it sends it.
struct Described {
  std::string name, etag = {}, url = {};
  uint64_t size = 0, have = 0;  ///< bytes; those already there from an earlier, broken transfer
};

/// Throws unless the path stays inside the directory it is joined to.
void check_path(const std::string& file, const std::string& where) {
  bool safe = !file.empty() && file.front() != '/' && file.find('\\') == std::string::npos &&
              file.find('\0') == std::string::npos;
  for (const fs::path& part : fs::path(file)) safe = safe && part != ".." && part != "." && !part.empty();
  require(safe, "{} lists a file {}, which would lie outside of the repository", where, printable(file));
}

uint64_t size_of(const fs::path& path) {
  std::error_code ec;
  const auto size = fs::file_size(path, ec);
  return ec ? 0 : size;
}

fs::path partial_of(const fs::path& blob) {
  return blob.string() + ".incomplete";
}

/// A blob on its way: appended to and hashed as it comes.
class Partial {
 public:
  Partial(const Described& file, fs::path path) : file_(file), path_(std::move(path)), digest_(new_digest()) {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd_ < 0) fail_to_write(path_, errno);
    if (size_of(path_) > file_.size) restart();
    std::string piece(size_t{1} << 20, '\0');
    ssize_t got = 0;
    while ((got = interruptible([&] { return ::read(fd_, piece.data(), piece.size()); })) > 0) {
      digest_.update({piece.data(), static_cast<size_t>(got)});
      bytes_ += static_cast<uint64_t>(got);
    }
    const int error = errno;
    require(got == 0, "cannot read {}: {}", path_.string(), std::strerror(error));
  }
  ~Partial() {
    if (fd_ >= 0) ::close(fd_);
  }
  Partial(const Partial&) = delete;
  Partial& operator=(const Partial&) = delete;

  uint64_t bytes() const { return bytes_; }
  bool complete() const { return bytes_ == file_.size; }

  void restart() {
    if (ftruncate(fd_, 0) != 0 || lseek(fd_, 0, SEEK_SET) != 0) fail_to_write(path_, errno);
    digest_ = new_digest();
    bytes_ = 0;
  }

  void append(std::string_view piece) {
    require(piece.size() <= file_.size - bytes_,
            "{}: more than the {} bytes that the Hub announced came; try again later", file_.name,
            file_.size);
    digest_.update(piece);
    const int error = write_all(fd_, piece.data(), piece.size());
    require(error == 0,
            "cannot write {}: {}; free some space, or name another cache with HF_HOME or HF_HUB_CACHE",
            path_.string(), std::strerror(error));
    bytes_ += piece.size();
  }

  /// "" when the bytes are what their name says, else what is wrong.
  std::string problem() {
    const std::string found = digest_.finish();
    return !hashed() || found == file_.etag ? "" : fmt::format("its hash is {}, not {}", found, file_.etag);
  }

  void commit(const fs::path& blob) {
    // A lock that another machine's file system does not honour lets two write here.
    require(size_of(path_) == file_.size, "cannot write {}: another program writes it, too", path_.string());
    if (interruptible([&] { return fsync(fd_); }) != 0) fail_to_write(path_, errno);
    std::error_code ec;
    fs::rename(path_, blob, ec);
    require(!ec, "cannot write {}: {}", blob.string(), ec.message());
    note_written(blob.string());
  }

 private:
  // An ETag of another form names nothing that could be checked; the length was.
  bool hashed() const {
    return (file_.etag.size() == 64 || file_.etag.size() == 40) &&
           file_.etag.find_first_not_of("0123456789abcdef") == std::string::npos;
  }
  Digest new_digest() const {
    return file_.etag.size() == 40 ? Digest::git_blob(file_.size) : Digest::sha256();
  }

  const Described& file_;
  fs::path path_;
  Digest digest_;
  int fd_ = -1;
  uint64_t bytes_ = 0;
};

/// Runs work(client, i) for i < count on a few threads, each with connections of its own. The first failure
/// stops all of them and is thrown; so is Ctrl-C. `tick` is called on this thread a few times a second.
void in_parallel(const HubSettings& settings, const HubName& name, size_t count,
                 const std::function<void()>& tick, const std::function<void(Client&, size_t)>& work) {
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::condition_variable ended;
  std::exception_ptr first;
  size_t running = std::min(kWorkers, count);
  const auto poll = [&] {
    if (stop) throw Stopped();
  };
  const auto fail_with = [&](std::exception_ptr error) {
    if (!first) first = std::move(error);
    stop = true;
  };
  std::vector<std::thread> threads;
  for (size_t t = running; t > 0; --t) {
    threads.emplace_back([&] {
      try {
        Client client(settings, name, poll);
        for (size_t i; !stop && (i = next++) < count;) work(client, i);
      } catch (const Stopped&) {
      } catch (...) {
        const std::lock_guard<std::mutex> hold(mutex);
        fail_with(std::current_exception());
      }
      const std::lock_guard<std::mutex> hold(mutex);
      --running;
      ended.notify_one();
    });
  }
  std::unique_lock<std::mutex> hold(mutex);
  while (!ended.wait_for(hold, std::chrono::milliseconds(50), [&] { return running == 0; })) {
    hold.unlock();
    tick();
    std::exception_ptr interrupted;
    try {
      check_interrupt();
    } catch (...) {
      interrupted = std::current_exception();
    }
    hold.lock();
    if (interrupted) fail_with(interrupted);
  }
  hold.unlock();
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

Described describe(Client& client, const HubSettings& settings, const HubName& name,
                   const std::string& commit, const std::string& file) {
  Described described{
      file, "",
      fmt::format("{}/{}/resolve/{}/{}", settings.endpoint, name.repository, commit, url_quote(file, "/"))};
  HttpRequest request;
  request.method = "HEAD";
  request.url = described.url;
  request.timeout = settings.answer_timeout;
  const HttpResponse response = client.persistent(request);
  if (!response.ok() && response.redirect.empty()) client.refuse(response, file);
  const std::string linked = response.header("x-linked-etag"), size = response.header("x-linked-size");
  described.etag = plain_etag(linked.empty() ? response.header("etag") : linked);
  const bool safe = !described.etag.empty() && described.etag.size() <= 200 &&
                    described.etag.front() != '.' &&
                    std::all_of(described.etag.begin(), described.etag.end(), [](unsigned char c) {
                      return c < 0x80 && (std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.');
                    });
  const auto bytes = number(!size.empty()               ? size
                            : response.redirect.empty() ? response.header("content-length")
                                                        : "");
  require(safe && bytes && *bytes < kLargestFile,
          "{}: {} says neither the hash nor the length of {} as a Hub does; check HF_ENDPOINT and the proxy",
          name.text(), settings.endpoint, printable(file));
  described.size = *bytes;
  return described;
}

/// Fetches what is still missing of a blob; `got` is told of every byte, and of bytes that have to come
/// again.
void download(Client& client, const HubSettings& settings, const HubName& name, const Described& file,
              const fs::path& blob, const std::function<void(int64_t)>& got) {
  for (bool again = false;; again = true) {
    Partial partial(file, partial_of(blob));
    HttpRequest request;
    request.url = file.url;
    request.timeout = settings.download_timeout;
    bool begun = false;
    request.sink = [&](const HttpResponse& response, std::string_view piece) {
      if (!begun) {
        begun = true;
        // Asked to go on at a place, a server may send all, or from somewhere else.
        const bool goes_on =
            response.status == 206 &&
            response.header("content-range").rfind(fmt::format("bytes {}-", partial.bytes()), 0) == 0;
        if (!goes_on && partial.bytes() > 0) {
          got(-static_cast<int64_t>(partial.bytes()));
          partial.restart();
          if (response.status == 206)
            throw HttpFailure(
                fmt::format("{}: another part of {} came than was asked for", name.text(), file.name), true);
        }
      }
      partial.append(piece);
      got(static_cast<int64_t>(piece.size()));
    };
    for (int failures = 0; !partial.complete();) {
      const uint64_t before = partial.bytes();
      begun = false;
      request.headers.clear();
      if (before > 0) request.headers.push_back(fmt::format("Range: bytes={}-", before));
      std::optional<HttpResponse> response;
      std::string problem;
      try {
        response = client.exchange(request);
        if (response->status == 416) {
          got(-static_cast<int64_t>(partial.bytes()));
          partial.restart();
        } else if (!response->ok() && !worth_another_try(response->status)) {
          client.refuse(*response, file.name);
        }
        problem = response->ok() ? "it ended early" : fmt::format("the answer was {}", response->status);
      } catch (const HttpFailure& failure) {
        problem = failure.what();
      }
      if (partial.complete()) break;
      if (partial.bytes() > before) failures = 0;
      ++failures;
      const bool refused = response && !response->ok();
      require(failures < kTries || refused,
              "{}: {} of {} bytes of {} came, then no more: {}; the same command goes on from there",
              name.text(), partial.bytes(), file.size, file.name, problem);
      client.wait(failures, refused ? &*response : nullptr);
    }
    const std::string problem = partial.problem();
    if (problem.empty()) {
      partial.commit(blob);
      return;
    }
    got(-static_cast<int64_t>(partial.bytes()));
    std::error_code ec;
    fs::remove(partial_of(blob), ec);
    require(!again, "{}: {} came damaged twice: {}; try again later, or look at the proxy", name.text(),
            file.name, problem);
  }
}

void check_space(const HubCache& cache, const HubName& name, uint64_t needed) {
  std::error_code ec;
  const fs::space_info space = fs::space(cache.root(), ec);
  require(
      ec || space.available >= needed,
      "{} needs {}, but {} has {} left; free some space, or name another cache with HF_HOME or HF_HUB_CACHE",
      name.text(), megabytes(needed), cache.root().string(), megabytes(space.available));
}

}  // namespace

HubRemote::HubRemote(HubSettings settings, HubName name)
    : settings_(std::move(settings)), name_(std::move(name)), cache_(settings_, name_.repository) {}

bool HubRemote::available() {
  return true;
}

HubListing HubRemote::list() {
  Client client(settings_, name_, check_interrupt);
  HttpRequest request;
  request.url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", settings_.endpoint, name_.repository,
                            url_quote(name_.revision));
  request.timeout = settings_.answer_timeout;
  HttpResponse response;
  try {
    response = client.persistent(request);
  } catch (const HttpFailure& failure) {
    throw HubUnavailable(
        fmt::format("{}: no such file or directory here, and the Hub cannot be reached: {}; check the "
                    "network, the proxy and HF_ENDPOINT",
                    name_.text(), failure.what()));
  }
  if (!response.ok()) client.refuse(response, "");
  nlohmann::json json;
  try {
    json = parse_json<nlohmann::json>(response.body, settings_.endpoint);
  } catch (const Error&) {
    json = nullptr;  // refused below, like any other answer that is no listing
  }
  const bool listing = json.is_object() && json.contains("sha") && json["sha"].is_string() &&
                       json.contains("siblings") && json["siblings"].is_array();
  HubListing result;
  if (listing) result.commit = json["sha"].get<std::string>();
  if (!is_commit(result.commit))
    throw HubUnavailable(fmt::format("{}: {} does not answer as a Hub does; check HF_ENDPOINT and the proxy",
                                     name_.text(), settings_.endpoint));
  for (const auto& entry : json["siblings"]) {
    if (!entry.is_object() || !entry.contains("rfilename") || !entry["rfilename"].is_string()) continue;
    HubFile file{entry["rfilename"].get<std::string>(), std::nullopt};
    check_path(file.name, settings_.endpoint);
    if (entry.contains("size") && entry["size"].is_number_unsigned())
      file.size = entry["size"].get<uint64_t>();
    result.files.push_back(std::move(file));
  }
  return result;
}

void HubRemote::fetch(const std::string& commit, const std::vector<std::string>& files) {
  std::vector<Described> wanted;
  for (const std::string& file : files) {
    check_path(file, settings_.endpoint);
    if (!cache_.has(commit, file)) wanted.push_back({file});
  }
  if (wanted.empty()) return;
  try {
    in_parallel(
        settings_, name_, wanted.size(), [] {},
        [&](Client& client, size_t i) {
          wanted[i] = describe(client, settings_, name_, commit, wanted[i].name);
        });
    uint64_t needed = 0;
    for (Described& file : wanted) {
      cache_.prepare(commit, file.name, file.etag);
      const fs::path blob = cache_.blob(file.etag);
      file.have = fs::exists(blob) ? file.size : std::min(size_of(partial_of(blob)), file.size);
      needed += file.size - file.have;
    }
    check_space(cache_, name_, needed);
    // The largest first: what is left to the end then is short.
    std::stable_sort(wanted.begin(), wanted.end(),
                     [](const Described& a, const Described& b) { return a.size > b.size; });
    std::atomic<int64_t> received{0};
    Progress progress("fetching " + name_.text(), static_cast<int64_t>((needed + 999999) / 1000000), "MB");
    const auto tick = [&] { progress.update(static_cast<double>(std::max<int64_t>(received, 0)) / 1e6); };
    in_parallel(settings_, name_, wanted.size(), tick, [&](Client& client, size_t i) {
      const Described& file = wanted[i];
      const fs::path blob = cache_.blob(file.etag);
      const FileLock lock(cache_.lock(file.etag), [&] { client.poll(); });
      const bool fresh = !fs::exists(blob);
      if (fresh) download(client, settings_, name_, file, blob, [&](int64_t bytes) { received += bytes; });
      if (!cache_.has(commit, file.name)) cache_.link(commit, file.name, file.etag, fresh);
    });
  } catch (const Interrupted& interrupted) {
    throw Error("interrupted; the same command goes on where the transfer stopped", interrupted.exit_code());
  } catch (const HttpFailure& failure) {
    throw HubUnavailable(
        fmt::format("{}: the Hub cannot be reached any more: {}; the same command goes on from there",
                    name_.text(), failure.what()));
  }
}

}  // namespace outliers::io
