#include "outliers/io/mapped_file.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <set>
#include <sys/mman.h>
#include <unistd.h>

#include "outliers/core/error.h"
#include "outliers/core/regular_file.h"

namespace outliers::io {
namespace {

/// The mapped ranges as the handler sees them: it may neither lock nor allocate.
struct Range {
  std::atomic<uintptr_t> begin = 0, end = 0;
};
std::array<Range, 8192> g_ranges;  // a file beyond them is not guarded
std::atomic<const Range*> g_cut = nullptr;
std::atomic<uintptr_t> g_page = 4096;

struct Registry {
  std::mutex mutex;
  std::set<const MappedFile*> files;
  std::array<std::string, std::tuple_size_v<decltype(g_ranges)>> names;
};
Registry& registry() {
  static auto* const all = new Registry;  // outlives what is destroyed at exit
  return *all;
}

/// In place of what the file no longer has, pages of zeros: the reader goes on, and is told at its next
/// check.
void on_bus_error(int signal, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const Range& range : g_ranges) {
    const uintptr_t begin = range.begin, end = range.end;
    if (address < begin || address >= end) continue;
    const uintptr_t page = address / g_page * g_page;
    const int error = errno;
    void* zeros = mmap(reinterpret_cast<void*>(page), end - page, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    errno = error;
    if (zeros == MAP_FAILED) break;
    const Range* none = nullptr;
    g_cut.compare_exchange_strong(none, &range);
    return;
  }
  std::signal(signal, SIG_DFL);  // not ours: the faulting instruction runs again and ends the process
}

constexpr const char* kAgain = "wait until it is complete and start again";

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const RegularFile file(path);
  status_ = file.status();
  require(status_.st_size > 0, "{} is empty", path.string());
  size_ = static_cast<size_t>(status_.st_size);
  void* map = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  require(map != MAP_FAILED, not_read(errno), "cannot map {}: {}", path.string(), std::strerror(errno));
  data_ = static_cast<const uint8_t*>(map);
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.files.insert(this);
  while (place_ < g_ranges.size() && (g_ranges[place_].end != 0 || &g_ranges[place_] == g_cut)) ++place_;
  if (place_ == g_ranges.size()) return;
  all.names[place_] = path.string();
  g_ranges[place_].begin = reinterpret_cast<uintptr_t>(data_);
  g_ranges[place_].end = reinterpret_cast<uintptr_t>(data_) + size_;
}

MappedFile::~MappedFile() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.files.erase(this);
  if (place_ < g_ranges.size()) g_ranges[place_].end = 0;
  munmap(const_cast<uint8_t*>(data_), size_);
}

void MappedFile::refuse_foreign() const {
  const auto other = foreign_content({reinterpret_cast<const char*>(data_), std::min<size_t>(size_, 4096)});
  require(!other, "{} {}", path_.string(), other.value_or(""));
}

void MappedFile::prefetch(uint64_t offset, uint64_t bytes) const {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t begin = offset / page * page;
  madvise(const_cast<uint8_t*>(data_) + begin, offset + bytes - begin, MADV_WILLNEED);
}

void MappedFile::release(uint64_t offset, uint64_t bytes) const {
  // Whole pages only: a page at the edge may belong to a neighbour that is in use.
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t begin = (offset + page - 1) / page * page, end = (offset + bytes) / page * page;
  if (end > begin) madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_DONTNEED);
}

void install_map_guard() {
  g_page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

std::string map_guard_message() {
  const Range* cut = g_cut;
  if (cut == nullptr) return "";
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  return fmt::format("{} was cut short by another program while it was read; {}",
                     all.names[static_cast<size_t>(cut - g_ranges.data())], kAgain);
}

void check_map_guard() {
  if (g_cut.load(std::memory_order_relaxed) != nullptr) fail("{}", map_guard_message());
}

void check_mapped_files() {
  check_map_guard();
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  for (const MappedFile* file : all.files) {
    struct stat now {};
    if (stat(file->path_.c_str(), &now) != 0) continue;
    const struct stat& then = file->status_;
    const char* change = nullptr;
    if (now.st_ino != then.st_ino || now.st_dev != then.st_dev) {
      change = "was replaced";
    } else if (now.st_size != then.st_size) {
      change = now.st_size < then.st_size ? "was cut short" : "has grown";
    } else if (now.st_mtim.tv_sec != then.st_mtim.tv_sec || now.st_mtim.tv_nsec != then.st_mtim.tv_nsec) {
      change = "was written to";
    }
    if (change != nullptr)
      fail("{} {} by another program while it was read; {}", file->path_.string(), change, kAgain);
  }
}

}  // namespace outliers::io
