// The layouts are those of ggml's ggml-common.h (block_q4_0, ..., block_mxfp4); the order of operations is
// gguf-py's.
#include "outliers/io/dequantize.h"

#include <array>
#include <bit>
#include <cmath>

#include "outliers/io/unaligned.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

namespace outliers::io {
namespace {

float from_bf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// IEEE binary16, subnormals, infinities and NaN payloads included.
float from_half(uint16_t bits) {
#ifdef __F16C__
  return _cvtsh_ss(bits);
#else
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1FU, mantissa = bits & 0x3FFU;
  if (exponent == 0x1F) {
    // numpy makes a signalling NaN quiet when it widens it.
    return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13) | (mantissa != 0 ? 0x00400000U : 0));
  }
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
#endif
}

float half_at(const uint8_t* p) {
  return from_half(read_unaligned<uint16_t>(p));
}

// OCP 8-bit floating point: E4M3 (no infinity, S.1111.111 is NaN) and E5M2 (as IEEE).
float from_e4m3(uint8_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x80U) << 24;
  const uint32_t exponent = (bits >> 3) & 0xFU, mantissa = bits & 7U;
  if (exponent == 15 && mantissa == 7) return std::bit_cast<float>(sign | 0x7FC00000U);
  if (exponent == 0)
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(mantissa) * 0x1p-9F));
  return std::bit_cast<float>(sign | ((exponent + 120) << 23) | (mantissa << 20));
}
float from_e5m2(uint8_t bits) {
  return from_half(static_cast<uint16_t>(bits << 8));
}

template <typename T>
void plain(const uint8_t* p, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i)
    out[i] = static_cast<float>(read_unaligned<T>(p + i * static_cast<int64_t>(sizeof(T))));
}
void half(const uint8_t* p, int64_t n, float* out) {
  int64_t i = 0;
#ifdef __F16C__
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 2 * i))));
  }
#endif
  for (; i < n; ++i) out[i] = half_at(p + 2 * i);
}
void bfloat(const uint8_t* p, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = from_bf16(read_unaligned<uint16_t>(p + 2 * i));
}
// Eight bits have 256 values: a table is faster than taking them apart.
template <float (*Convert)(uint8_t)>
void by_table(const uint8_t* p, int64_t n, float* out) {
  static const auto table = [] {
    std::array<float, 256> values{};
    for (size_t i = 0; i < 256; ++i) values[i] = Convert(static_cast<uint8_t>(i));
    return values;
  }();
  for (int64_t i = 0; i < n; ++i) out[i] = table[p[i]];
}
void boolean(const uint8_t* p, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = p[i] != 0 ? 1.0F : 0.0F;
}

void q4_0(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 18, out += 32) {
    const float d = half_at(p);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>((p[2 + j] & 15) - 8);
      out[j + 16] = d * static_cast<float>((p[2 + j] >> 4) - 8);
    }
  }
}

void q4_1(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 20, out += 32) {
    const float d = half_at(p), m = half_at(p + 2);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>(p[4 + j] & 15) + m;
      out[j + 16] = d * static_cast<float>(p[4 + j] >> 4) + m;
    }
  }
}

void q5_0(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 22, out += 32) {
    const float d = half_at(p);
    const auto high = read_unaligned<uint32_t>(p + 2);
    for (int j = 0; j < 16; ++j) {
      const int low_bit = static_cast<int>((high >> j) & 1) << 4,
                high_bit = static_cast<int>((high >> (j + 16)) & 1) << 4;
      out[j] = d * static_cast<float>(((p[6 + j] & 15) | low_bit) - 16);
      out[j + 16] = d * static_cast<float>(((p[6 + j] >> 4) | high_bit) - 16);
    }
  }
}

void q5_1(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 24, out += 32) {
    const float d = half_at(p), m = half_at(p + 2);
    const auto high = read_unaligned<uint32_t>(p + 4);
    for (int j = 0; j < 16; ++j) {
      const int low_bit = static_cast<int>((high >> j) & 1) << 4,
                high_bit = static_cast<int>((high >> (j + 16)) & 1) << 4;
      out[j] = d * static_cast<float>((p[8 + j] & 15) | low_bit) + m;
      out[j + 16] = d * static_cast<float>((p[8 + j] >> 4) | high_bit) + m;
    }
  }
}

void q8_0(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 34, out += 32) {
    const float d = half_at(p);
    for (int j = 0; j < 32; ++j) out[j] = static_cast<float>(static_cast<int8_t>(p[2 + j])) * d;
  }
}

void q2_k(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 84) {
    const uint8_t *scales = p, *q = p + 16;
    const float d = half_at(p + 80), dmin = half_at(p + 82);
    for (int part = 0; part < 2; ++part, q += 32) {
      for (int shift = 0; shift < 8; shift += 2) {
        for (int half_row = 0; half_row < 2; ++half_row, ++scales) {
          const float dl = d * static_cast<float>(*scales & 15), ml = dmin * static_cast<float>(*scales >> 4);
          for (int l = 0; l < 16; ++l)
            *out++ = dl * static_cast<float>((q[half_row * 16 + l] >> shift) & 3) - ml;
        }
      }
    }
  }
}

void q3_k(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 110) {
    const uint8_t *mask = p, *q = p + 32, *packed = p + 96;
    const float d = half_at(p + 108);
    // Sixteen 6-bit scales: low nibbles in bytes 0-7, two high bits in bytes 8-11.
    std::array<int, 16> scales{};
    for (int i = 0; i < 16; ++i) {
      const int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
      const int high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
      scales[static_cast<size_t>(i)] = (low | (high << 4)) - 32;
    }
    int group = 0;
    for (int part = 0; part < 2; ++part, q += 32) {
      for (int step = 0; step < 4; ++step) {
        const int bit = part * 4 + step;
        for (int half_row = 0; half_row < 2; ++half_row, ++group) {
          const float dl = d * static_cast<float>(scales[static_cast<size_t>(group)]);
          for (int l = half_row * 16; l < half_row * 16 + 16; ++l) {
            const int low = (q[l] >> (2 * step)) & 3, high = (mask[l] >> bit) & 1;
            *out++ = dl * static_cast<float>(low - (high == 0 ? 4 : 0));
          }
        }
      }
    }
  }
}

// Eight 6-bit scales and minima in twelve bytes, as Q4_K and Q5_K share them.
struct ScalesAndMinima {
  std::array<uint8_t, 8> scale, minimum;
  explicit ScalesAndMinima(const uint8_t* p) {
    for (size_t j = 0; j < 4; ++j) {
      scale[j] = p[j] & 63;
      minimum[j] = p[j + 4] & 63;
      scale[j + 4] = static_cast<uint8_t>((p[j + 8] & 15) | ((p[j] >> 6) << 4));
      minimum[j + 4] = static_cast<uint8_t>((p[j + 8] >> 4) | ((p[j + 4] >> 6) << 4));
    }
  }
};

void q4_k(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 144) {
    const float d = half_at(p), dmin = half_at(p + 2);
    const ScalesAndMinima s(p + 4);
    const uint8_t* q = p + 16;
    for (size_t j = 0; j < 8; j += 2, q += 32, out += 64) {
      const float d1 = d * static_cast<float>(s.scale[j]), m1 = dmin * static_cast<float>(s.minimum[j]);
      const float d2 = d * static_cast<float>(s.scale[j + 1]),
                  m2 = dmin * static_cast<float>(s.minimum[j + 1]);
      for (int l = 0; l < 32; ++l) {
        out[l] = d1 * static_cast<float>(q[l] & 15) - m1;
        out[l + 32] = d2 * static_cast<float>(q[l] >> 4) - m2;
      }
    }
  }
}

void q5_k(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 176) {
    const float d = half_at(p), dmin = half_at(p + 2);
    const ScalesAndMinima s(p + 4);
    const uint8_t *high = p + 16, *q = p + 48;
    for (size_t j = 0; j < 8; j += 2, q += 32, out += 64) {
      const float d1 = d * static_cast<float>(s.scale[j]), m1 = dmin * static_cast<float>(s.minimum[j]);
      const float d2 = d * static_cast<float>(s.scale[j + 1]),
                  m2 = dmin * static_cast<float>(s.minimum[j + 1]);
      for (int l = 0; l < 32; ++l) {
        out[l] = d1 * static_cast<float>((q[l] & 15) | (((high[l] >> j) & 1) << 4)) - m1;
        out[l + 32] = d2 * static_cast<float>((q[l] >> 4) | (((high[l] >> (j + 1)) & 1) << 4)) - m2;
      }
    }
  }
}

void q6_k(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 210) {
    const uint8_t *low = p, *high = p + 128;
    const auto* scales = reinterpret_cast<const int8_t*>(p + 192);
    const float d = half_at(p + 208);
    for (int part = 0; part < 2; ++part, low += 64, high += 32, scales += 8, out += 128) {
      std::array<float, 8> ds{};
      for (size_t i = 0; i < 8; ++i) ds[i] = d * static_cast<float>(scales[i]);
      for (int l = 0; l < 32; ++l) {
        const size_t is = static_cast<size_t>(l) / 16;
        out[l] = ds[is] * static_cast<float>(((low[l] & 15) | ((high[l] & 3) << 4)) - 32);
        out[l + 32] =
            ds[is + 2] * static_cast<float>(((low[l + 32] & 15) | (((high[l] >> 2) & 3) << 4)) - 32);
        out[l + 64] = ds[is + 4] * static_cast<float>(((low[l] >> 4) | (((high[l] >> 4) & 3) << 4)) - 32);
        out[l + 96] = ds[is + 6] * static_cast<float>(((low[l + 32] >> 4) | ((high[l] >> 6) << 4)) - 32);
      }
    }
  }
}

constexpr std::array<float, 16> kNonLinear4 = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};

void iq4_nl(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 18, out += 32) {
    const float d = half_at(p);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * kNonLinear4[p[2 + j] & 15];
      out[j + 16] = d * kNonLinear4[p[2 + j] >> 4];
    }
  }
}

void iq4_xs(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 136) {
    const float d = half_at(p);
    const auto high = read_unaligned<uint16_t>(p + 2);
    const uint8_t *low = p + 4, *q = p + 8;
    for (int i = 0; i < 8; ++i, q += 16, out += 32) {
      const int scale = ((low[i / 2] >> (4 * (i % 2))) & 15) | (((high >> (2 * i)) & 3) << 4);
      const float dl = d * static_cast<float>(scale - 32);
      for (int j = 0; j < 16; ++j) {
        out[j] = dl * kNonLinear4[q[j] & 15];
        out[j + 16] = dl * kNonLinear4[q[j] >> 4];
      }
    }
  }
}

// OCP microscaling: 32 E2M1 values (held doubled, as integers) under one power of two (held halved).
constexpr std::array<float, 16> kE2m1Doubled = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

void mxfp4(const uint8_t* p, int64_t blocks, float* out) {
  for (; blocks-- > 0; p += 17, out += 32) {
    const uint32_t e = p[0];
    const float d = std::bit_cast<float>(e < 2 ? 0x00200000U << e : (e - 1) << 23);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * kE2m1Doubled[p[1 + j] & 15];
      out[j + 16] = d * kE2m1Doubled[p[1 + j] >> 4];
    }
  }
}

}  // namespace

const std::vector<Encoding>& encodings() {
  static const std::vector<Encoding> table = {
      {"F32", 0, 1, 4, plain<float>},
      {"F16", 1, 1, 2, half},
      {"Q4_0", 2, 32, 18, q4_0},
      {"Q4_1", 3, 32, 20, q4_1},
      {"Q5_0", 6, 32, 22, q5_0},
      {"Q5_1", 7, 32, 24, q5_1},
      {"Q8_0", 8, 32, 34, q8_0},
      {"Q2_K", 10, 256, 84, q2_k},
      {"Q3_K", 11, 256, 110, q3_k},
      {"Q4_K", 12, 256, 144, q4_k},
      {"Q5_K", 13, 256, 176, q5_k},
      {"Q6_K", 14, 256, 210, q6_k},
      {"IQ4_NL", 20, 32, 18, iq4_nl},
      {"IQ4_XS", 23, 256, 136, iq4_xs},
      {"I8", 24, 1, 1, plain<int8_t>},
      {"I16", 25, 1, 2, plain<int16_t>},
      {"I32", 26, 1, 4, nullptr},
      {"I64", 27, 1, 8, nullptr},
      {"F64", 28, 1, 8, nullptr},
      {"BF16", 30, 1, 2, bfloat},
      {"MXFP4", 39, 32, 17, mxfp4},
      {"F8_E4M3", -1, 1, 1, by_table<from_e4m3>},
      {"F8_E5M2", -1, 1, 1, by_table<from_e5m2>},
      {"BOOL", -1, 1, 1, boolean},
      {"U8", -1, 1, 1, plain<uint8_t>},
      {"U16", -1, 1, 2, plain<uint16_t>},
      {"U32", -1, 1, 4, nullptr},
      {"U64", -1, 1, 8, nullptr},
  };
  return table;
}

const Encoding* find_encoding(std::string_view name) {
  for (const Encoding& e : encodings()) {
    if (name == e.name) return &e;
  }
  return nullptr;
}

const Encoding* find_gguf_encoding(uint32_t type) {
  for (const Encoding& e : encodings()) {
    if (e.gguf_type >= 0 && static_cast<uint32_t>(e.gguf_type) == type) return &e;
  }
  return nullptr;
}

const char* undecoded_gguf_type(uint32_t type) {
  switch (type) {
    case 9:
      return "Q8_1";
    case 15:
      return "Q8_K";
    case 16:
      return "IQ2_XXS";
    case 17:
      return "IQ2_XS";
    case 18:
      return "IQ3_XXS";
    case 19:
      return "IQ1_S";
    case 21:
      return "IQ3_S";
    case 22:
      return "IQ2_S";
    case 29:
      return "IQ1_M";
    case 34:
      return "TQ1_0";
    case 35:
      return "TQ2_0";
    default:
      return "";
  }
}

}  // namespace outliers::io
