// An observer that keeps the points it is asked for, whole inputs put together, by name.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "outliers/run/runner.h"

namespace outliers::run {

class Recorder : public Observer {
 public:
  /// Keeps every point, of input `input`.
  explicit Recorder(size_t input = 0) : input_(input) {}
  Recorder(const std::vector<Site>& sites, size_t input)
      : input_(input), all_(false), sites_(sites.begin(), sites.end()) {}

  bool wants(const Site& site, size_t input) const override {
    return input == input_ && (all_ || sites_.count(site) > 0);
  }
  void on_point(const Site& site, const Slice& slice, const at::Tensor& x) override {
    std::vector<at::Tensor>& parts = parts_[site_name(site)];
    int64_t seen = 0;
    for (const at::Tensor& part : parts) seen += part.size(0);
    TORCH_CHECK(slice.first_sequence == seen, "sequences out of order");
    parts.push_back(x);
    order_.push_back(site);
  }

  /// [B, ...], in float64.
  at::Tensor get(const std::string& name) const { return at::cat(parts_.at(name)).to(at::kDouble); }
  const std::map<std::string, std::vector<at::Tensor>>& parts() const { return parts_; }
  const std::vector<Site>& order() const { return order_; }

 private:
  size_t input_;
  bool all_ = true;
  std::set<Site> sites_;
  std::map<std::string, std::vector<at::Tensor>> parts_;
  std::vector<Site> order_;
};

}  // namespace outliers::run
