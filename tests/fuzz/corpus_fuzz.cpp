// Text to measure on: JSON lines and plain text, in any encoding and compression. The first byte chooses the
// name.
#include "outliers/text/corpus.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const fuzz::InputFolder folder;
  constexpr const char* kNames[] = {"a.jsonl", "a.txt", "a.jsonl.zst", "a.txt.gz"};
  const auto path = folder.path() / kNames[data[0] % 4];
  fuzz::write(path, data + 1, size - 1);
  fuzz::attempt([&] { text::read_corpus(path); });
  return 0;
}
