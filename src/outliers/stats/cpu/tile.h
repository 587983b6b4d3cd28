// What the CPU's passes over activations and weights share: up to four rows at a time, as float32 in the
// first cache, looked at twice: once for their sums and largest values, once for moments about their mean.
// Written in the compilers' vector types, because sums in float lanes must not wait for permission to be
// reordered.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include <ATen/ATen.h>

#include "outliers/stats/keys.h"
#include "outliers/stats/partial.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace outliers::stats::cpu {

inline constexpr int64_t kLanes = 16;
inline constexpr int64_t kTileRows = 4;
inline constexpr int32_t kInfinity = 0x7F800000, kMagnitude = 0x7FFFFFFF;

using Words = int32_t __attribute__((vector_size(64)));   // bits of 16 floats
using Singles = float __attribute__((vector_size(32)));   // 8 of them
using Doubles = double __attribute__((vector_size(64)));  // as doubles
using Longs = int64_t __attribute__((vector_size(64)));

// Vectors pass by reference: by value their calling convention depends on the instruction set.
template <typename Vector>
inline void load(Vector& v, const void* p) {
  std::memcpy(&v, p, sizeof v);
}
template <typename Vector>
inline void store(void* p, const Vector& v) {
  std::memcpy(p, &v, sizeof v);
}
inline void load_doubles(Doubles& v, const float* p) {
  Singles s;
  load(s, p);
  v = __builtin_convertvector(s, Doubles);
}
inline void absolute(Doubles& v) {
  Longs bits;
  std::memcpy(&bits, &v, sizeof bits);
  bits &= INT64_MAX;
  std::memcpy(&v, &bits, sizeof bits);
}
inline double total(const Doubles& v) {
  return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
}

/// Counts of bins of one thread. Four tables in turn, because an increment waits for the one before it when
/// both hit one bin, and near zero neighbours often do.
class BinCounter {
 public:
  BinCounter() : memory_(at::zeros({kMemory}, at::kInt)) {}

  /// 16 values whose bits begin at `p`: float, or float16 and bfloat16.
  void count16(const float* p) {
    uint64_t pair;
    for (int i = 0; i < 16; i += 4) {
      std::memcpy(&pair, p + i, sizeof pair);
      add(0, pair >> 16);
      add(1, pair >> 48);
      std::memcpy(&pair, p + i + 2, sizeof pair);
      add(2, pair >> 16);
      add(3, pair >> 48);
    }
  }
  void count16(const uint16_t* p) {
    uint64_t four;
    for (int i = 0; i < 16; i += 4) {
      std::memcpy(&four, p + i, sizeof four);
      add(0, four);
      add(1, four >> 16);
      add(2, four >> 32);
      add(3, four >> 48);
    }
  }
  void count1(const float* p) { add(0, std::bit_cast<uint32_t>(*p) >> 16); }
  void count1(const uint16_t* p) { add(0, *p); }

  template <typename Bits>
  void count(const Bits* row, int64_t n) {
    int64_t j = 0;
    for (; j + kLanes <= n; j += kLanes) count16(row + j);
    for (; j < n; ++j) count1(row + j);
    counted(n);
  }
  /// To be told of n values that were counted one by one.
  void counted(int64_t n) {
    since_flush_ += n;
    if (since_flush_ > INT32_MAX) flush();  // before a 32-bit count can overflow
  }
  /// Adds the bins of finite values to `histogram` [kBins]; `infinity` is the first bin that is not finite.
  void add_to(std::vector<int64_t>& histogram, int64_t infinity) {
    flush();
    for (size_t bin = 0; bin < static_cast<size_t>(infinity); ++bin) histogram[bin] += sums_[bin];
  }

 private:
  // 1 MiB, which core/memory.h keeps for reuse; the tables take half of it.
  static constexpr int64_t kMemory = int64_t{1} << 18;

  void add(int64_t table, uint64_t bits) { ++tables_[table * kBins + static_cast<int64_t>(bits & 0x7FFF)]; }
  void flush() {
    sums_.resize(static_cast<size_t>(kBins), 0);
    for (size_t bin = 0; bin < static_cast<size_t>(kBins); ++bin) {
      for (size_t table = 0; table < 4; ++table) {
        sums_[bin] += tables_[table * static_cast<size_t>(kBins) + bin];
      }
    }
    std::fill_n(tables_, 4 * kBins, 0);
    since_flush_ = 0;
  }

  at::Tensor memory_;
  uint32_t* tables_ = reinterpret_cast<uint32_t*>(memory_.data_ptr<int32_t>());
  std::vector<int64_t> sums_;
  int64_t since_flush_ = 0;
};

/// Sums of one row. max_bits is at least kInfinity where something is not finite; the rest is garbage then.
struct RowSums {
  int32_t max_bits = 0;
  int64_t zeros = 0;
  double sum = 0, abs_sum = 0;
};

/// `bins`, where given, counts the values on the way: its stores and these sums use different parts of a
/// core. `source` is the row in the dtype that bins are of.
template <typename Bits>
inline RowSums row_sums(const float* row, int64_t n, BinCounter* bins, const Bits* source) {
  Words top{}, zeros{};
  Doubles sum_low{}, sum_high{}, abs_low{}, abs_high{};
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    Words bits;
    load(bits, row + j);
    bits &= kMagnitude;
    top = bits > top ? bits : top;
    zeros -= bits == 0;
    Doubles low, high;
    load_doubles(low, row + j);
    load_doubles(high, row + j + kLanes / 2);
    sum_low += low;
    sum_high += high;
    absolute(low);
    absolute(high);
    abs_low += low;
    abs_high += high;
    if (bins) bins->count16(source + j);
  }
  RowSums sums;
  for (int lane = 0; lane < kLanes; ++lane) {
    sums.max_bits = std::max(sums.max_bits, top[lane]);
    sums.zeros += zeros[lane];
  }
  sums.sum = total(sum_low) + total(sum_high);
  sums.abs_sum = total(abs_low) + total(abs_high);
  for (; j < n; ++j) {
    const int32_t key = std::bit_cast<int32_t>(row[j]) & kMagnitude;
    sums.max_bits = std::max(sums.max_bits, key);
    sums.zeros += key == 0;
    sums.sum += static_cast<double>(row[j]);
    sums.abs_sum += static_cast<double>(std::bit_cast<float>(key));
    if (bins) bins->count1(source + j);
  }
  if (bins) bins->counted(n);
  return sums;
}

/// Central sums of `rows` rows about `mean`; count and mean are left to the caller.
inline void add_central(const float* const* rows, int64_t count, int64_t n, double mean, Moments& m) {
  Doubles m2_low{}, m2_high{}, m3_low{}, m3_high{}, m4_low{}, m4_high{};
  for (int64_t r = 0; r < count; ++r) {
    const float* row = rows[r];
    int64_t j = 0;
    for (; j + kLanes <= n; j += kLanes) {
      Doubles low, high;
      load_doubles(low, row + j);
      load_doubles(high, row + j + kLanes / 2);
      low -= mean;
      high -= mean;
      const Doubles low2 = low * low, high2 = high * high;
      m2_low += low2;
      m2_high += high2;
      m3_low += low2 * low;
      m3_high += high2 * high;
      m4_low += low2 * low2;
      m4_high += high2 * high2;
    }
    for (; j < n; ++j) {
      const double d = static_cast<double>(row[j]) - mean, d2 = d * d;
      m.m2 += d2;
      m.m3 += d2 * d;
      m.m4 += d2 * d2;
    }
  }
  m.m2 += total(m2_low) + total(m2_high);
  m.m3 += total(m3_low) + total(m3_high);
  m.m4 += total(m4_low) + total(m4_high);
}

/// Largest magnitudes per column, as bits, and (where column_sums is given) sums of magnitudes. All finite.
inline void add_columns(const float* const* rows, int64_t count, int64_t n, int32_t* column_bits,
                        double* column_sums) {
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    Words top;
    load(top, column_bits + j);
    for (int64_t r = 0; r < count; ++r) {
      Words bits;
      load(bits, rows[r] + j);
      bits &= kMagnitude;
      top = bits > top ? bits : top;
    }
    store(column_bits + j, top);
    if (!column_sums) continue;
    Doubles sum_low, sum_high;
    load(sum_low, column_sums + j);
    load(sum_high, column_sums + j + kLanes / 2);
    for (int64_t r = 0; r < count; ++r) {
      Doubles low, high;
      load_doubles(low, rows[r] + j);
      load_doubles(high, rows[r] + j + kLanes / 2);
      absolute(low);
      absolute(high);
      sum_low += low;
      sum_high += high;
    }
    store(column_sums + j, sum_low);
    store(column_sums + j + kLanes / 2, sum_high);
  }
  for (; j < n; ++j) {
    for (int64_t r = 0; r < count; ++r) {
      const int32_t bits = std::bit_cast<int32_t>(rows[r][j]) & kMagnitude;
      column_bits[j] = std::max(column_bits[j], bits);
      if (column_sums) column_sums[j] += static_cast<double>(std::bit_cast<float>(bits));
    }
  }
}

/// Appends the keys in [low, high] to `kept` and returns how many are below `low`. low >= 1 keeps no zeros.
inline int64_t keep_keys(const float* row, int64_t n, uint32_t low, uint32_t high, KeyList& kept) {
  uint32_t* const begin = kept.room(n + kLanes);
  uint32_t* out = begin;
  int64_t below = 0, j = 0;
#ifdef __AVX512F__
  const __m512i first = _mm512_set1_epi32(static_cast<int>(low));
  const __m512i last = _mm512_set1_epi32(static_cast<int>(high));
  const __m512i magnitude = _mm512_set1_epi32(kMagnitude);
  for (; j + kLanes <= n; j += kLanes) {
    const __m512i keys = _mm512_and_epi32(_mm512_loadu_si512(row + j), magnitude);
    const __mmask16 under = _mm512_cmplt_epu32_mask(keys, first);
    const __mmask16 inside = _mm512_mask_cmple_epu32_mask(static_cast<__mmask16>(~under), keys, last);
    // Through a register: storing compressed lanes straight to memory takes some processors 100 cycles.
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(inside, keys));
    out += std::popcount(static_cast<unsigned>(inside));
    below += std::popcount(static_cast<unsigned>(under));
  }
#endif
  for (; j < n; ++j) {
    const uint32_t key = std::bit_cast<uint32_t>(row[j]) & static_cast<uint32_t>(kMagnitude);
    *out = key;
    out += key >= low && key <= high;
    below += key < low;
  }
  kept.advance(out - begin);
  return below;
}

/// First bin of a dtype that is not finite.
inline int64_t infinity_bin(at::ScalarType dtype) {
  return dtype == at::kHalf ? 0x7C00 : 0x7F80;
}

/// Up to kTileRows rows as float32. Rows of float32 are used where they are, others are converted; a row that
/// is not all finite is replaced by two copies: `filled` with zeros in their place, `finite` without them.
template <typename Scalar>
class Tile {
 public:
  /// `bins`, where given, counts every row.
  explicit Tile(int64_t width, BinCounter* bins = nullptr)
      : width_(width),
        bins_(bins),
        converted_(static_cast<size_t>(std::is_same_v<Scalar, float> ? 0 : kTileRows * width)) {}

  /// Reads a row; call clear() before the first of a tile.
  void add(const Scalar* row) {
    const auto r = static_cast<size_t>(count_++);
    if constexpr (std::is_same_v<Scalar, float>) {
      values_[r] = row;
    } else {
      float* out = converted_.data() + static_cast<int64_t>(r) * width_;
      for (int64_t j = 0; j < width_; ++j) out[j] = static_cast<float>(row[j]);
      values_[r] = out;
    }
    // bins of float16 and bfloat16 are those of the row as it is stored
    using Bits = std::conditional_t<std::is_same_v<Scalar, float>, float, uint16_t>;
    const Bits* source = reinterpret_cast<const Bits*>(row);
    sums_[r] = row_sums(values_[r], width_, bins_, source);
    finite_count_[r] = width_;
    if (sums_[r].max_bits >= kInfinity) separate(r);
    all_finite_ = all_finite_ && finite_count_[r] == width_;
  }
  void clear() {
    count_ = 0;
    all_finite_ = true;
  }

  int64_t count() const { return count_; }
  bool all_finite() const { return all_finite_; }
  const RowSums& sums(int64_t r) const { return sums_[static_cast<size_t>(r)]; }
  int64_t finite_count(int64_t r) const { return finite_count_[static_cast<size_t>(r)]; }
  /// As read (float32).
  const float* values(int64_t r) const { return values_[static_cast<size_t>(r)]; }
  /// With zeros in place of what is not finite, one pointer per row.
  const float* const* filled() {
    for (size_t r = 0; r < static_cast<size_t>(count_); ++r) {
      pointers_[r] = finite_count_[r] == width_ ? values_[r] : filled_[r].data();
    }
    return pointers_;
  }
  Moments moments() const {
    Moments m;
    double sum = 0;
    for (size_t r = 0; r < static_cast<size_t>(count_); ++r) {
      m.count += finite_count_[r];
      sum += sums_[r].sum;
    }
    if (m.count == 0) return m;
    m.mean = sum / static_cast<double>(m.count);
    if (all_finite_) {
      add_central(values_, count_, width_, m.mean, m);
    } else {
      for (size_t r = 0; r < static_cast<size_t>(count_); ++r) {
        const float* row = finite_count_[r] == width_ ? values_[r] : finite_[r].data();
        add_central(&row, 1, finite_count_[r], m.mean, m);
      }
    }
    return m;
  }

 private:
  void separate(size_t r) {
    filled_[r].assign(values_[r], values_[r] + width_);
    finite_[r].clear();
    for (float& value : filled_[r]) {
      if ((std::bit_cast<int32_t>(value) & kMagnitude) < kInfinity) {
        finite_[r].push_back(value);
      } else {
        value = 0;
      }
    }
    finite_count_[r] = static_cast<int64_t>(finite_[r].size());
    sums_[r] = row_sums<float>(finite_[r].data(), finite_count_[r], nullptr, nullptr);
  }

  int64_t width_;
  BinCounter* bins_;
  int64_t count_ = 0;
  bool all_finite_ = true;
  std::vector<float> converted_;
  const float* values_[kTileRows] = {};
  const float* pointers_[kTileRows] = {};
  RowSums sums_[kTileRows];
  int64_t finite_count_[kTileRows] = {};
  std::vector<float> filled_[kTileRows], finite_[kTileRows];
};

}  // namespace outliers::stats::cpu
