// What a run was measured on, for reports.
#pragma once

#include <string>

namespace outliers {

/// The processor, the cores this process may use, and the memory: "AMD EPYC 9B14, 2 cores, 25 GB". Neither
/// the machine's name nor anything of its owner is in it.
std::string machine_description();

}  // namespace outliers
