#include "outliers/run/process_age.h"

#include <fstream>
#include <sstream>
#include <string>
#include <time.h>
#include <unistd.h>

namespace outliers::run {

namespace {

double boot_clock_seconds() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Field 22 of /proc/self/stat: start after boot, in ticks. Fields are counted after the name in brackets,
/// which may hold anything.
double start_seconds() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return fields ? std::stod(field) / static_cast<double>(sysconf(_SC_CLK_TCK)) : boot_clock_seconds();
}

}  // namespace

double process_age_seconds() {
  return boot_clock_seconds() - start_seconds();
}

}  // namespace outliers::run
