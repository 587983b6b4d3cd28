// A file of rules; what passes judges results in which nothing was measured.
#include "outliers/studies/findings.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    const auto rules = studies::parse_rules({reinterpret_cast<const char*>(data), size}, "rules.toml");
    studies::findings({}, rules);
  });
  return 0;
}
