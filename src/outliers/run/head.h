// From the last hidden states to logits.
#pragma once

#include <cstdint>
#include <map>

#include "outliers/models/model.h"
#include "outliers/run/layer_weights.h"
#include "outliers/run/tap.h"

namespace outliers::run {

class Head {
 public:
  Head(const models::Model& model, at::ScalarType dtype, at::Device device, Stopwatch& loading);
  /// Whether blocks of the output matrix stay in memory once they are read.
  void keep(bool keeps) { keeps_ = keeps; }

  /// The model's own points of a chunk. hidden [b,T,D]; gives final_norm_out.
  at::Tensor operator()(at::Tensor hidden, const Slice& slice, const Tap& tap);
  bool shows_logits(const Tap& tap) const;

  /// Rows [begin, end) of the output matrix, on the device.
  at::Tensor rows(int64_t begin, int64_t end);
  /// Logits [n,v] of x [n,D] and the ids whose rows these are, from `begin` on.
  at::Tensor block(const at::Tensor& x, const at::Tensor& rows, int64_t begin) const;

 private:
  at::Tensor load(const char* name);
  at::Tensor projected(const at::Tensor& x) const;
  void finish_block(at::Tensor& logits, int64_t begin) const;
  void show_logits(const at::Tensor& x, const Slice& slice, const Tap& tap);

  const models::Model& model_;
  const models::Config& config_;
  at::ScalarType dtype_;
  at::Device device_;
  Stopwatch& loading_;
  Norm norm_;
  at::Tensor projection_, bias_;
  std::map<int64_t, at::Tensor> kept_;  // by first row
  bool keeps_ = false;
};

}  // namespace outliers::run
