// Counts the bytes of CPU tensors that are alive, and their most so far.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

namespace outliers::tests {

/// One at a time, while it lives; tensors made meanwhile may outlive it.
class CountingAllocator {
 public:
  CountingAllocator() : before_(c10::GetCPUAllocator()) {
    const std::lock_guard lock(mutex());
    sizes().clear();
    alive() = most() = 0;
    c10::SetCPUAllocator(&forwarder(), 100);
  }
  ~CountingAllocator() { c10::SetCPUAllocator(before_, 100); }
  CountingAllocator(const CountingAllocator&) = delete;
  CountingAllocator& operator=(const CountingAllocator&) = delete;
  static uint64_t peak() {
    const std::lock_guard lock(mutex());
    return most();
  }

 private:
  class Forwarder : public c10::Allocator {
   public:
    c10::DataPtr allocate(size_t bytes) override {
      void* data = nullptr;
      if (bytes > 0 && posix_memalign(&data, 64, bytes) != 0) throw std::bad_alloc();
      if (data != nullptr) {
        const std::lock_guard lock(mutex());
        sizes()[data] = bytes;
        alive() += bytes;
        most() = std::max(most(), alive());
      }
      return {data, data, &release, c10::Device(c10::kCPU)};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &release; }
    void copy_data(void* to, const void* from, std::size_t bytes) const override {
      std::memcpy(to, from, bytes);
    }
  };
  static void release(void* data) {
    if (data == nullptr) return;
    {
      const std::lock_guard lock(mutex());
      // One of an earlier count is not of this one.
      if (const auto found = sizes().find(data); found != sizes().end()) {
        alive() -= found->second;
        sizes().erase(found);
      }
    }
    std::free(data);
  }
  // Never destroyed: tensors in static storage are freed after main().
  static Forwarder& forwarder() {
    static auto* forwarder = new Forwarder;
    return *forwarder;
  }
  static std::mutex& mutex() {
    static auto* mutex = new std::mutex;
    return *mutex;
  }
  static std::unordered_map<void*, size_t>& sizes() {
    static auto* sizes = new std::unordered_map<void*, size_t>;
    return *sizes;
  }
  static uint64_t& alive() {
    static uint64_t alive = 0;
    return alive;
  }
  static uint64_t& most() {
    static uint64_t most = 0;
    return most;
  }

  c10::Allocator* before_;
};

}  // namespace outliers::tests
