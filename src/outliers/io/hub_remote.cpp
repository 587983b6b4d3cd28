#include "outliers/io/hub_remote.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include <nlohmann/json.hpp>

#include "outliers/core/interrupt.h"
#include "outliers/core/json.h"
#include "outliers/core/progress.h"
#include "outliers/io/hub_client.h"
#include "outliers/io/hub_download.h"

namespace outliers::io {
namespace fs = std::filesystem;
namespace {

constexpr size_t kWorkers = 8;

/// Thrown in a worker when another one has failed; never seen outside.
struct Stopped {};

std::string megabytes(uint64_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

/// Throws unless the path stays inside the directory it is joined to.
void check_path(const std::string& file, const std::string& where) {
  bool safe = !file.empty() && file.front() != '/' && file.find('\\') == std::string::npos &&
              file.find('\0') == std::string::npos;
  for (const fs::path& part : fs::path(file)) safe = safe && part != ".." && part != "." && !part.empty();
  require(safe, kNetwork, "{} lists a file {}, which would lie outside of the repository", where,
          printable(file));
}

/// Runs work(client, i) for i < count on a few threads, each with connections of its own. The first failure
/// stops all of them and is thrown; so is Ctrl-C. `tick` is called on this thread a few times a second.
void in_parallel(const HubSettings& settings, const HubName& name, size_t count,
                 const std::function<void()>& tick, const std::function<void(HubClient&, size_t)>& work) {
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
        HubClient client(settings, name, poll);
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

void check_space(const HubCache& cache, const HubName& name, uint64_t needed) {
  std::error_code ec;
  const fs::space_info space = fs::space(cache.root(), ec);
  require(
      ec || space.available >= needed, not_written(ENOSPC),
      "{} needs {}, but {} has {} left; free some space, or name another cache with HF_HOME or HF_HUB_CACHE",
      name.text(), megabytes(needed), cache.root().string(), megabytes(space.available));
}

}  // namespace

HubRemote::HubRemote(HubSettings settings, HubName name)
    : settings_(std::move(settings)),
      name_(std::move(name)),
      cache_(settings_, name_.repository, name_.data_set) {}

bool HubRemote::available() {
  return true;
}

HubListing HubRemote::list() {
  HubClient client(settings_, name_, check_interrupt);
  HttpRequest request;
  request.url =
      fmt::format("{}/api/{}/{}/revision/{}?blobs=true", settings_.endpoint,
                  name_.data_set ? "datasets" : "models", name_.repository, url_quote(name_.revision));
  request.timeout = settings_.answer_timeout;
  HttpResponse response;
  try {
    response = client.persistent(request);
  } catch (const HttpFailure& failure) {
    throw HubUnavailable(
        fmt::format("{} the Hub cannot be reached: {}; check the network, the proxy and HF_ENDPOINT",
                    name_.missing(), failure.what()));
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
        [&](HubClient& client, size_t i) { wanted[i] = describe(client, commit, wanted[i].name); });
    uint64_t needed = 0;
    for (Described& file : wanted) {
      cache_.prepare(commit, file.name, file.etag);
      file.have = bytes_there(cache_.blob(file.etag), file.size);
      needed += file.size - file.have;
    }
    check_space(cache_, name_, needed);
    // The largest first: what is left to the end then is short.
    std::stable_sort(wanted.begin(), wanted.end(),
                     [](const Described& a, const Described& b) { return a.size > b.size; });
    std::atomic<int64_t> received{0};
    Progress progress("fetching " + name_.text(), static_cast<int64_t>((needed + 999999) / 1000000), "MB");
    const auto tick = [&] { progress.update(static_cast<double>(std::max<int64_t>(received, 0)) / 1e6); };
    in_parallel(settings_, name_, wanted.size(), tick, [&](HubClient& client, size_t i) {
      const Described& file = wanted[i];
      const fs::path blob = cache_.blob(file.etag);
      const FileLock lock(cache_.lock(file.etag), [&] { client.poll(); });
      const bool fresh = !fs::exists(blob);
      if (fresh) download(client, file, blob, [&](int64_t bytes) { received += bytes; });
      if (!cache_.has(commit, file.name)) cache_.link(commit, file.name, file.etag, fresh);
    });
  } catch (const Interrupted& interrupted) {
    throw Interrupted(interrupted.signal(),
                      "interrupted; the same command goes on where the transfer stopped");
  } catch (const HttpFailure& failure) {
    throw HubUnavailable(
        fmt::format("{}: the Hub cannot be reached any more: {}; the same command goes on from there",
                    name_.text(), failure.what()));
  }
}

}  // namespace outliers::io
