#include "outliers/run/describe.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>

#include "outliers/core/dtype.h"
#include "outliers/core/machine.h"
#include "outliers/core/memory.h"
#include "outliers/core/version.h"

namespace outliers::run {
namespace {

int64_t peak_device_bytes(at::Device device) {
  if (device.is_cpu()) return 0;
  const auto stats = at::accelerator::getDeviceStats(device.index());
  const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return stats.allocated_bytes[all].peak;
}

}  // namespace

results::Program describe_program(at::ScalarType dtype, at::Device device) {
  return {version(),    commit(),          libtorch_version(),   machine_description(),
          device.str(), dtype_name(dtype), at::get_num_threads()};
}

results::Cost describe_cost(const RunTimes& times, uint64_t memory_limit, at::Device device) {
  results::Cost cost;
  cost.weight_bytes_read = static_cast<int64_t>(times.weight_bytes_read);
  if (memory_limit > 0) {
    cost.memory_limit_bytes = static_cast<int64_t>(memory_limit);
    cost.spilled_bytes = static_cast<int64_t>(times.spilled_bytes);
  }
  cost.peak_host_bytes = static_cast<int64_t>(peak_resident_bytes());
  cost.peak_device_bytes = peak_device_bytes(device);
  return cost;
}

}  // namespace outliers::run
