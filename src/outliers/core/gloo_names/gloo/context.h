// PyTorch's packages bring Gloo inside of LibTorch but not its headers, without which ProcessGroupGloo.hpp
// cannot be read. It names Gloo's types by pointer only, so names are all that is declared here; nothing is
// ever called or derived from outside of LibTorch.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
