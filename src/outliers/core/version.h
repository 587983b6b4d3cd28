// What this build is.
#pragma once

#include <string>

namespace outliers {

std::string version();  ///< "0.1.0"
std::string commit();   ///< abbreviated hash, with "-dirty" where the tree had changes; "unknown" outside git
std::string libtorch_version();  ///< "2.13.0"

}  // namespace outliers
