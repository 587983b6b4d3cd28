#include "outliers/io/hub_download.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outliers/core/interrupt.h"
#include "outliers/core/output.h"
#include "outliers/io/digest.h"
#include "outliers/io/hub_client.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kLargestFile = uint64_t{1} << 50;  // so that sums of sizes cannot overflow

/// `"abc"` and `W/"abc"` name abc.
std::string plain_etag(std::string etag) {
  if (etag.rfind("W/", 0) == 0) etag.erase(0, 2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return etag;
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
    require(got == 0, not_read(error), "cannot read {}: {}", path_.string(), std::strerror(error));
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
    require(piece.size() <= file_.size - bytes_, kNetwork,
            "{}: more than the {} bytes that the Hub announced came; try again later", file_.name,
            file_.size);
    digest_.update(piece);
    const int error = write_all(fd_, piece.data(), piece.size());
    require(error == 0, not_written(error),
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
    require(size_of(path_) == file_.size, not_written(EBUSY),
            "cannot write {}: another program writes it, too", path_.string());
    if (interruptible([&] { return fsync(fd_); }) != 0) fail_to_write(path_, errno);
    std::error_code ec;
    fs::rename(path_, blob, ec);
    require(!ec, not_written(ec.value()), "cannot write {}: {}", blob.string(), ec.message());
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

}  // namespace

Described describe(HubClient& client, const std::string& commit, const std::string& file) {
  const HubSettings& settings = client.settings();
  Described described{file, "",
                      fmt::format("{}/{}/resolve/{}/{}", settings.endpoint, client.name().page(), commit,
                                  url_quote(file, "/"))};
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
  const auto bytes = header_number(!size.empty()               ? size
                                   : response.redirect.empty() ? response.header("content-length")
                                                               : "");
  require(safe && bytes && *bytes < kLargestFile, kNetwork,
          "{}: {} says neither the hash nor the length of {} as a Hub does; check HF_ENDPOINT and the proxy",
          client.name().text(), settings.endpoint, printable(file));
  described.size = *bytes;
  return described;
}

void download(HubClient& client, const Described& file, const fs::path& blob,
              const std::function<void(int64_t)>& got) {
  for (bool again = false;; again = true) {
    Partial partial(file, partial_of(blob));
    HttpRequest request;
    request.url = file.url;
    request.timeout = client.settings().download_timeout;
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
            throw HttpFailure(fmt::format("{}: another part of {} came than was asked for",
                                          client.name().text(), file.name),
                              true);
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
      require(failures < HubClient::kTries || refused, kNetwork,
              "{}: {} of {} bytes of {} came, then no more: {}; the same command goes on from there",
              client.name().text(), partial.bytes(), file.size, file.name, problem);
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
    require(!again, kNetwork, "{}: {} came damaged twice: {}; try again later, or look at the proxy",
            client.name().text(), file.name, problem);
  }
}

uint64_t bytes_there(const fs::path& blob, uint64_t size) {
  return fs::exists(blob) ? size : std::min(size_of(partial_of(blob)), size);
}

}  // namespace outliers::io
