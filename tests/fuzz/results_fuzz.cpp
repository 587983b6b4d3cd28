// results.json of either schema; what passes is written, and has to be read again as the same.
#include <cstdlib>

#include "outliers/results/json.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text;
  fuzz::attempt([&] {
    const fuzz::RegularFile file(data, size);
    text = results::to_text(results::read(file.path()), -1);
  });
  if (text.empty()) return 0;
  const fuzz::RegularFile again(text.data(), text.size());
  if (results::to_text(results::read(again.path()), -1) != text) std::abort();
  return 0;
}
