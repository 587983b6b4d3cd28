#include "outliers/core/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <list>
#include <mutex>
#include <new>
#include <string>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <unordered_map>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

namespace outliers {
namespace {

constexpr size_t kHugePage = size_t{2} << 20, kLarge = size_t{1} << 20, kAlignment = 64;

class TensorAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes == 0 ? nullptr : bytes < kLarge ? small(bytes) : large(bytes);
    return {data, data, &TensorAllocator::release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &TensorAllocator::release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }

  static TensorAllocator& instance() {
    // Never destroyed: tensors in static storage are freed after main().
    static auto* allocator = new TensorAllocator;
    return *allocator;
  }

  void set_limit(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    limit_ = bytes;
    trim(limit_);
  }
  /// 0: none. Returns the bound before.
  uint64_t set_bound(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    const uint64_t before = bound_ == kNoBound ? 0 : bound_;
    bound_ = bytes == 0 ? kNoBound : bytes;
    trim(room_for(0));
    return before;
  }
  void drop_kept() {
    const std::lock_guard lock(mutex_);
    trim(0);
  }
  uint64_t kept() {
    const std::lock_guard lock(mutex_);
    return kept_bytes_;
  }

 private:
  struct Block {
    void* data;
    size_t bytes;
  };

  static void* small(size_t bytes) {
    void* data = nullptr;
    if (posix_memalign(&data, kAlignment, bytes) != 0) throw std::bad_alloc();
    return data;
  }

  void* large(size_t bytes) {
    const size_t wanted = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    const std::lock_guard lock(mutex_);
    // Newest first: its pages are the likeliest to be in a cache. A block may be a quarter too large.
    for (auto block = kept_.begin(); block != kept_.end(); ++block) {
      if (block->bytes < wanted || block->bytes > wanted + wanted / 4) continue;
      void* data = block->data;
      kept_bytes_ -= block->bytes;
      used_bytes_ += block->bytes;
      used_.emplace(data, block->bytes);
      kept_.erase(block);
      return data;
    }
    trim(room_for(wanted));
    void* data = map(wanted);
    if (data == nullptr) {
      trim(0);
      data = map(wanted);
    }
    if (data == nullptr) throw std::bad_alloc();
    used_bytes_ += wanted;
    used_.emplace(data, wanted);
    return data;
  }

  // Aligned to a huge page: one page more is mapped, and what sticks out is unmapped.
  static void* map(size_t bytes) {
    void* raw = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return nullptr;
    auto* start = static_cast<char*>(raw);
    const size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
    if (skip > 0) munmap(start, skip);
    if (skip < kHugePage) munmap(start + skip + bytes, kHugePage - skip);
    madvise(start + skip, bytes, MADV_HUGEPAGE);
    return start + skip;
  }

  static void release(void* data) {
    if (data == nullptr) return;
    TensorAllocator& self = instance();
    {
      const std::lock_guard lock(self.mutex_);
      const auto block = self.used_.find(data);
      if (block != self.used_.end()) {
        self.kept_.push_front({data, block->second});
        self.kept_bytes_ += block->second;
        self.used_bytes_ -= block->second;
        self.used_.erase(block);
        self.trim(self.room_for(0));
        return;
      }
    }
    std::free(data);
  }

  /// How much may be kept beside what is in use and `wanted` more.
  uint64_t room_for(uint64_t wanted) const {
    const uint64_t taken = used_bytes_ + wanted;
    return std::min(limit_, taken < bound_ ? bound_ - taken : 0);
  }

  void trim(uint64_t limit) {
    while (kept_bytes_ > limit) {
      munmap(kept_.back().data, kept_.back().bytes);
      kept_bytes_ -= kept_.back().bytes;
      kept_.pop_back();
    }
  }

  std::mutex mutex_;
  std::unordered_map<void*, size_t> used_;
  std::list<Block> kept_;  // newest first
  static constexpr uint64_t kNoBound = UINT64_MAX;
  uint64_t used_bytes_ = 0, kept_bytes_ = 0, limit_ = 0, bound_ = kNoBound;
};

}  // namespace

void install_tensor_allocator(uint64_t keep_bytes) {
#if defined(__SANITIZE_ADDRESS__)
  (void)keep_bytes;
#else
  TensorAllocator::instance().set_limit(keep_bytes);
  c10::SetCPUAllocator(&TensorAllocator::instance());
#endif
}

TensorMemoryBound::TensorMemoryBound(uint64_t bytes)
    : before_(TensorAllocator::instance().set_bound(bytes)) {}

TensorMemoryBound::~TensorMemoryBound() {
  TensorAllocator::instance().set_bound(before_);
}

void release_kept_memory() {
  TensorAllocator::instance().drop_kept();
}

uint64_t kept_memory_bytes() {
  return TensorAllocator::instance().kept();
}

uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  if (!(file >> size >> resident)) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t peak_resident_bytes() {
  // getrusage() also counts the process that started this one, up to its exec().
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace outliers
