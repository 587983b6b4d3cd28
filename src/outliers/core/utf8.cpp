#include "outliers/core/utf8.h"

namespace outliers {

size_t valid_sequence(std::string_view bytes, size_t at, size_t* broken) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xc2 && lead < 0xe0   ? 2
                        : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4
                                                      : 0;
  size_t good = 1;
  for (; good < length && at + good < bytes.size(); ++good) {
    const unsigned char next = byte(at + good);
    // The second byte's range excludes overlong forms, surrogates and points above U+10FFFF.
    const unsigned char low = good > 1 ? 0x80 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = good > 1 ? 0xbf : lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (next < low || next > high) break;
  }
  if (good == length) return length;
  if (broken) *broken = good;
  return 0;
}

}  // namespace outliers
