#include "outliers/core/meta_memory.h"

#include <algorithm>
#include <mutex>

namespace outliers {
namespace {

/// LibTorch's own has no priority.
constexpr uint8_t kPriority = 1;

class MetaAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const std::lock_guard lock(mutex_);
    alive_ += static_cast<int64_t>(bytes);
    peak_ = std::max(peak_, alive_);
    return {nullptr, new size_t(bytes), &release, c10::Device(c10::kMeta)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* /*to*/, const void* /*from*/, std::size_t /*bytes*/) const override {}

  static MetaAllocator& instance() {
    // Never destroyed: its tensors may outlive the count.
    static auto* allocator = new MetaAllocator;
    return *allocator;
  }
  int64_t alive() {
    const std::lock_guard lock(mutex_);
    return alive_;
  }
  int64_t peak() {
    const std::lock_guard lock(mutex_);
    return peak_;
  }
  void restart() {
    const std::lock_guard lock(mutex_);
    peak_ = alive_;
  }

 private:
  static void release(void* size) {
    const auto* bytes = static_cast<size_t*>(size);
    MetaAllocator& self = instance();
    const std::lock_guard lock(self.mutex_);
    self.alive_ -= static_cast<int64_t>(*bytes);
    delete bytes;
  }

  std::mutex mutex_;
  int64_t alive_ = 0, peak_ = 0;
};

}  // namespace

MetaMemory::MetaMemory() : before_(c10::GetAllocator(c10::kMeta)) {
  c10::SetAllocator(c10::kMeta, &MetaAllocator::instance(), kPriority);
  restart();
}

MetaMemory::~MetaMemory() {
  c10::SetAllocator(c10::kMeta, before_, kPriority);
}

int64_t MetaMemory::alive() const {
  return MetaAllocator::instance().alive();
}

int64_t MetaMemory::peak() const {
  return MetaAllocator::instance().peak();
}

void MetaMemory::restart() {
  MetaAllocator::instance().restart();
}

}  // namespace outliers
