#include "outliers/measures/rounding_errors.h"

#include <ATen/ATen.h>

namespace outliers::measures {
namespace {

/// action(format), for those that have scales.
template <typename Action>
void for_formats(const Action& action) {
  for (const NumberFormat& format : kNumberFormats) {
    if (format.scaling != Scaling::none) action(format);
  }
}

}  // namespace

RoundingErrors::RoundingErrors(int64_t rows, int64_t K) {
  for_formats([&](const NumberFormat& format) { formats_.emplace_back(format, rows, K); });
}

void RoundingErrors::add(const at::Tensor& x) {
  const at::Tensor finite = x.to(at::kFloat).nan_to_num(0, 0, 0);
  for (stats::RoundingAccumulator& format : formats_) format.add(finite);
}

void RoundingErrors::merge(const RoundingErrors& other) {
  for (size_t i = 0; i < formats_.size(); ++i) formats_[i].merge(other.formats_[i]);
}

results::Rounded RoundingErrors::finish() const {
  results::Rounded rounded;
  size_t i = 0;
  for_formats([&](const NumberFormat& format) {
    const stats::RoundingSummary summary = formats_[i++].finish();
    rounded.formats[format.name] = {summary.relative_error, summary.flushed, summary.worst_blocks};
  });
  return rounded;
}

void RoundingErrors::save(ByteWriter& out) const {
  for (const stats::RoundingAccumulator& format : formats_) format.save(out);
}

RoundingErrors RoundingErrors::load(ByteReader& in) {
  RoundingErrors errors;
  for_formats([&](const NumberFormat& format) {
    errors.formats_.push_back(stats::RoundingAccumulator::load(in, format));
  });
  return errors;
}

int64_t RoundingErrors::held_bytes(int64_t tensors, int64_t rows, int64_t K) {
  return static_cast<int64_t>(kScaledFormats.size()) *
         stats::RoundingAccumulator::held_bytes(tensors, rows, K);
}

int64_t RoundingErrors::moment_bytes(int64_t rows, int64_t K) {
  constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
  return stats::RoundingAccumulator::moment_bytes(rows, K) + 2 * kFloat * rows * K;
}

}  // namespace outliers::measures
