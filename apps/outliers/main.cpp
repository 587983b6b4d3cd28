#include <cstdio>

#include "outliers/core/version.h"

int main() {
  std::printf("outliers %s (%s), LibTorch %s\n", outliers::version().c_str(), outliers::commit().c_str(),
              outliers::libtorch_version().c_str());
}
