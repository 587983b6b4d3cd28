#include "outliers/core/version.h"

#include <torch/version.h>

#include "outliers_commit.h"

namespace outliers {

std::string version() {
  return OUTLIERS_VERSION;
}
std::string commit() {
  return OUTLIERS_COMMIT;
}
std::string libtorch_version() {
  return TORCH_VERSION;
}

}  // namespace outliers
