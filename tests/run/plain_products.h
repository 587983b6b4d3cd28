// Products of matrices whose memory can be told.
#pragma once

#include <ATen/Context.h>
#include <ATen/Parallel.h>

namespace outliers::tests {

/// Models this small compute for less time than threads wait for each other on a busy machine. oneDNN, which
/// multiplies bfloat16 where the processor can, takes its scratch from the same allocator; the reserve is
/// there for that, and these models are smaller than its blocks.
class PlainProducts {
 public:
  PlainProducts() {
    at::set_num_threads(1);
    at::globalContext().setUserEnabledMkldnn(false);
  }
  ~PlainProducts() {
    at::set_num_threads(threads_);
    at::globalContext().setUserEnabledMkldnn(onednn_);
  }
  PlainProducts(const PlainProducts&) = delete;
  PlainProducts& operator=(const PlainProducts&) = delete;

 private:
  int threads_ = at::get_num_threads();
  bool onednn_ = at::globalContext().userEnabledMkldnn();
};

}  // namespace outliers::tests
