// What results say of a run.
#pragma once

#include "outliers/results/results.h"
#include "outliers/run/options.h"

namespace outliers::run {

/// By what a run of this dtype on this device is computed.
results::Program describe_program(at::ScalarType dtype, at::Device device);

/// What it took until now; memory_limit as in RunOptions.
results::Cost describe_cost(const RunTimes& times, uint64_t memory_limit, at::Device device);

}  // namespace outliers::run
