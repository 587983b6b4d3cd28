// How long this process has been running: what a user waits for includes the start of LibTorch.
#pragma once

namespace outliers::run {

/// Seconds since the process began, to 10 ms (Linux counts its start in clock ticks).
double process_age_seconds();

}  // namespace outliers::run
