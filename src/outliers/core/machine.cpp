#include "outliers/core/machine.h"

#include <fstream>
#include <thread>
#include <unistd.h>

#include "outliers/core/error.h"

namespace outliers {
namespace {

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos)
      return printable(line.substr(colon + 2));
  }
  return "unknown processor";
}

}  // namespace

std::string machine_description() {
  const unsigned cores = std::thread::hardware_concurrency();
  const double bytes =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  return fmt::format("{}, {} core{}, {:.0f} GB", processor(), cores, cores == 1 ? "" : "s", bytes / 1e9);
}

}  // namespace outliers
