// What this build is.
#pragma once

#include <string>

#include "outliers/core/export.h"

namespace outliers {

OUTLIERS_API std::string version();  ///< "0.1.0"
OUTLIERS_API std::string
commit();  ///< abbreviated hash, with "-dirty" where the tree had changes; "unknown" outside git
OUTLIERS_API std::string libtorch_version();  ///< "2.13.0"

}  // namespace outliers
