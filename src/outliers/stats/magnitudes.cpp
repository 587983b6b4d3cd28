#include "outliers/stats/magnitudes.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace outliers::stats {
namespace {

constexpr uint32_t kInfinityKey = 0x7F800000;
// 4 % of the ranks on each side of the median for the largest sample. One tensor alone would need fewer; but
// later sequences are not like the first.
constexpr double kGuessErrors = 10;
// Bins on each side of the median's that stay when values become too many to keep: 3 to 6 % of the median.
constexpr int64_t kCountedHalf = 8;

size_t index(int64_t bin) {
  return static_cast<size_t>(bin);
}

}  // namespace

double Magnitudes::bin_low(int64_t bin) const {
  const auto key = static_cast<uint32_t>(bin);
  return magnitude_of_key(wide_ ? key << 16 : key, dtype_);
}

double Magnitudes::bin_high(int64_t bin) const {
  const auto key = static_cast<uint32_t>(bin);
  return magnitude_of_key(wide_ ? std::min(key << 16 | 0xFFFF, kInfinityKey - 1) : key, dtype_);
}

void Magnitudes::guess(const at::Tensor& x) {
  assert(count_ == 0);
  if (!wide_) return;
  const std::optional<MedianGuess> guess = guess_median(x, kGuessErrors);
  if (guess) keep_ = {float_bin(guess->low), float_bin(guess->high) + 1};
}

void Magnitudes::add(const ActivationPartial& partial) {
  median_.reset();
  for (size_t i = 0; i < histogram_.size(); ++i) histogram_[i] += partial.histogram[i];
  count_ += std::accumulate(partial.histogram.begin(), partial.histogram.end(), int64_t{0});
  zero_count_ += partial.zero_count;
  kept_.insert(kept_.end(), partial.kept.begin(), partial.kept.end());
  limit_kept();
}

void Magnitudes::merge(const Magnitudes& other) {
  if (other.count_ == 0) return;
  median_.reset();
  if (count_ == 0) {
    const int64_t limit = kept_limit_;
    *this = other;
    kept_limit_ = limit;
    return;
  }
  // The kept values of both sides are complete only where both kept.
  const BinRange both{std::max(keep_.first, other.keep_.first), std::min(keep_.last, other.keep_.last)};
  Magnitudes right = other;
  narrow(both);
  right.narrow(both);
  if (keep_counted_ != right.keep_counted_) (keep_counted_ ? right : *this).count_kept();

  for (size_t i = 0; i < histogram_.size(); ++i) histogram_[i] += right.histogram_[i];
  count_ += right.count_;
  zero_count_ += right.zero_count_;
  kept_.insert(kept_.end(), right.kept_.begin(), right.kept_.end());
  for (auto& [bin, counts] : right.counts_) {
    auto [place, is_new] = counts_.try_emplace(bin, std::move(counts));
    if (is_new) continue;
    for (size_t i = 0; i < place->second.size(); ++i) place->second[i] += counts[i];
  }
  limit_kept();
}

void Magnitudes::save(ByteWriter& out) const {
  out.put(dtype_);
  out.put(kept_limit_);
  out.put(histogram_);
  out.put(count_);
  out.put(zero_count_);
  out.put(keep_);
  out.put(keep_counted_);
  out.put(kept_.size());
  for (const at::Tensor& part : kept_) out.put(part);
  out.put(counts_.size());
  for (const auto& [bin, counts] : counts_) {
    out.put(bin);
    out.put(counts);
  }
}

Magnitudes Magnitudes::load(ByteReader& in) {
  const auto dtype = in.get<at::ScalarType>();
  Magnitudes m(dtype, in.get<int64_t>());
  m.histogram_ = in.get_vector<int64_t>();
  m.count_ = in.get<int64_t>();
  m.zero_count_ = in.get<int64_t>();
  m.keep_ = in.get<BinRange>();
  m.keep_counted_ = in.get<bool>();
  for (auto parts = in.get<size_t>(); parts > 0; --parts) m.kept_.push_back(in.get_tensor());
  for (auto bins = in.get<size_t>(); bins > 0; --bins) {
    const auto bin = in.get<int64_t>();
    m.counts_[bin] = in.get_vector<int64_t>();
  }
  return m;
}

void Magnitudes::add_counts(const std::vector<int64_t>& bins,
                            const std::vector<std::vector<int64_t>>& counts) {
  assert(wide_ && bins.size() == counts.size());
  median_.reset();
  for (size_t b = 0; b < bins.size(); ++b) {
    std::vector<int64_t>& mine = counts_[bins[b]];
    mine.resize(static_cast<size_t>(kKeysPerBin), 0);
    for (size_t i = 0; i < mine.size(); ++i) mine[i] += counts[b][i];
  }
}

void Magnitudes::narrow(BinRange range) {
  if (range.empty()) range = {};
  if (keep_counted_) {
    for (int64_t bin = keep_.first; bin < keep_.last; ++bin) {
      if (!range.holds(bin)) counts_.erase(bin);
    }
  }
  keep_ = range;
  keep_counted_ = keep_counted_ && !keep_.empty();
  // A copy may share the parts, so they are replaced.
  for (at::Tensor& part : kept_) {
    const KeySpan keys(part);
    KeyList inside(part.numel());
    uint32_t* out = inside.room(part.numel());
    const uint32_t* end = std::copy_if(keys.begin(), keys.end(), out,
                                       [&](uint32_t key) { return keep_.holds(bin_of_key(key)); });
    part = at::empty({0}, at::kInt);
    inside.advance(end - out);
    if (inside.size() > 0) part = inside.parts().front();
  }
  std::erase_if(kept_, [](const at::Tensor& part) { return part.numel() == 0; });
}

void Magnitudes::count_kept() {
  if (keep_.empty()) return;
  std::vector<int64_t*> counts;
  for (int64_t bin = keep_.first; bin < keep_.last; ++bin) {
    std::vector<int64_t>& here = counts_[bin];
    if (!keep_counted_) here.clear();
    here.resize(static_cast<size_t>(kKeysPerBin), 0);
    counts.push_back(here.data());
  }
  keep_counted_ = true;
  if (keep_.first == 0) counts[0][0] = zero_count_;
  // Each thread takes bins of its own.
  at::parallel_for(keep_.first, keep_.last, 1, [&](int64_t first, int64_t last) {
    const BinRange mine{first, last};
    for (const at::Tensor& part : kept_) {
      for (uint32_t key : KeySpan(part)) {
        const int64_t bin = bin_of_key(key);
        if (mine.holds(bin)) ++counts[index(bin - keep_.first)][key & 0xFFFF];
      }
    }
  });
  kept_.clear();
}

void Magnitudes::limit_kept() {
  if (!keep_counted_ && count_keys(kept_) > kept_limit_) {
    const int64_t middle = median_bins().front();
    narrow({std::max(keep_.first, middle - kCountedHalf), std::min(keep_.last, middle + kCountedHalf + 1)});
    count_kept();
  } else if (keep_counted_) {
    count_kept();
  }
}

int64_t Magnitudes::bin_of_rank(int64_t rank, int64_t* rank_in_bin) const {
  assert(0 <= rank && rank < count_);
  int64_t bin = 0;
  while (rank >= histogram_[index(bin)]) rank -= histogram_[index(bin++)];
  *rank_in_bin = rank;
  return bin;
}

std::vector<int64_t> Magnitudes::median_bins() const {
  if (count_ == 0) return {};
  int64_t rank = 0;
  const int64_t low = bin_of_rank((count_ - 1) / 2, &rank), high = bin_of_rank(count_ / 2, &rank);
  if (low == high) return {low};
  return {low, high};
}

std::vector<int64_t> Magnitudes::bins_between(double low, double high) const {
  std::vector<int64_t> bins;
  for (int64_t bin = 0; bin < kBins; ++bin) {
    if (histogram_[index(bin)] > 0 && bin_high(bin) >= low && bin_low(bin) <= high) bins.push_back(bin);
  }
  return bins;
}

bool Magnitudes::is_counted(int64_t bin) const {
  if (!wide_ || histogram_[index(bin)] == 0) return true;
  const auto place = counts_.find(bin);
  if (place == counts_.end()) return false;
  return std::accumulate(place->second.begin(), place->second.end(), int64_t{0}) == histogram_[index(bin)];
}

// Values of the ranks low <= high of one bin, counted within it.
std::optional<Magnitudes::Pair> Magnitudes::values_in(int64_t bin, int64_t low, int64_t high) const {
  if (!wide_) return Pair{bin_low(bin), bin_low(bin)};
  const auto first_key = static_cast<uint32_t>(bin) << 16;
  if (is_counted(bin)) {
    const std::vector<int64_t>& counts = counts_.at(bin);
    const auto key_at = [&](int64_t rank) {
      uint32_t key = 0;
      while (rank >= counts[key]) rank -= counts[key++];
      return magnitude_of_key(first_key | key, dtype_);
    };
    return Pair{key_at(low), key_at(high)};
  }
  const int64_t zeros = bin == 0 ? zero_count_ : 0;
  if (high < zeros) return Pair{0.0, 0.0};
  if (!keep_.holds(bin) || keep_counted_) return std::nullopt;
  KeyList here(histogram_[index(bin)] - zeros);
  for (const at::Tensor& part : kept_) {
    for (uint32_t key : KeySpan(part)) {
      if (bin_of_key(key) != bin) continue;
      *here.room(1) = key;
      here.advance(1);
    }
  }
  assert(here.size() == histogram_[index(bin)] - zeros);
  const std::vector<at::Tensor> parts = here.parts();
  const auto value_at = [&](int64_t rank) {
    return rank < zeros ? 0.0 : magnitude_of_key(key_at_rank(parts, rank - zeros), dtype_);
  };
  const double low_value = value_at(low);
  return Pair{low_value, high == low ? low_value : value_at(high)};
}

std::optional<double> Magnitudes::median() const {
  if (!median_) median_ = find_median();
  return median_;
}

std::optional<double> Magnitudes::find_median() const {
  if (count_ == 0) return 0.0;
  int64_t low = 0, high = 0;
  const int64_t low_bin = bin_of_rank((count_ - 1) / 2, &low), high_bin = bin_of_rank(count_ / 2, &high);
  const std::optional<Pair> first = values_in(low_bin, low, low_bin == high_bin ? high : low);
  if (!first) return std::nullopt;
  if (low_bin == high_bin) return (first->low + first->high) / 2;
  const std::optional<Pair> second = values_in(high_bin, high, high);
  if (!second) return std::nullopt;
  return (first->low + second->low) / 2;
}

std::optional<int64_t> Magnitudes::count_above(double threshold) const {
  int64_t above = 0;
  for (int64_t bin = kBins - 1; bin >= 0; --bin) {
    const int64_t here = histogram_[index(bin)];
    if (here == 0) continue;
    if (bin_high(bin) <= threshold) break;
    if (bin_low(bin) > threshold) {
      above += here;
      continue;
    }
    if (!is_counted(bin)) return std::nullopt;
    const std::vector<int64_t>& counts = counts_.at(bin);
    for (uint32_t low = 0; low < counts.size(); ++low) {
      if (magnitude_of_key(static_cast<uint32_t>(bin) << 16 | low, dtype_) > threshold) above += counts[low];
    }
  }
  return above;
}

}  // namespace outliers::stats
