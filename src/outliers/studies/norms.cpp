#include "outliers/studies/norms.h"

#include <ATen/ATen.h>

#include "outliers/core/bytes.h"

namespace outliers::studies {

using nlohmann::ordered_json;

namespace {

/// {median, max} of the finite ones; nulls without any. norms float32 [N,n].
ordered_json extent(const at::Tensor& norms) {
  const at::Tensor finite = norms.masked_select(at::isfinite(norms)).to(at::kDouble);
  if (finite.numel() == 0) return {{"median", nullptr}, {"max", nullptr}};
  const at::Tensor sorted = std::get<0>(finite.sort());
  const int64_t n = sorted.numel();
  const double median = (sorted[(n - 1) / 2].item<double>() + sorted[n / 2].item<double>()) / 2;
  return {{"median", median}, {"max", sorted[n - 1].item<double>()}};
}

}  // namespace

void TokenNorms::add(const at::Tensor& x) {
  // In float32 a sum of squares of float16's largest values still fits.
  parts_.push_back(at::linalg_vector_norm(x, 2, at::IntArrayRef({2}), false, at::kFloat).cpu());
}

void TokenNorms::merge(Ranks& ranks) {
  ByteWriter mine;
  mine.put(at::cat(parts_));
  const std::vector<std::string> all = ranks.gather(mine.bytes());
  for (size_t r = 1; r < all.size(); ++r) parts_.push_back(ByteReader(all[r]).get_tensor());
}

void TokenNorms::finish(int64_t layer) {
  const at::Tensor norms = at::cat(parts_);
  parts_.clear();
  const int64_t first = 1 + registers_;
  const at::Tensor patches = norms.narrow(1, first, norms.size(1) - first);
  ordered_json listed = {{"layer", layer}, {"cls", extent(norms.narrow(1, 0, 1))}};
  if (registers_ > 0) {
    listed["registers"] = extent(norms.narrow(1, 1, registers_));
    ordered_json each = ordered_json::array();
    for (int64_t r = 0; r < registers_; ++r) each.push_back(extent(norms.narrow(1, 1 + r, 1))["median"]);
    listed["registers"]["each"] = each;
  }
  listed["patches"] = extent(patches);
  const at::Tensor sizes = patches.nan_to_num(-1, -1, -1);
  const int64_t place = sizes.argmax().item<int64_t>();
  listed["patches"]["largest"] = {{"sequence", place / patches.size(1)},
                                  {"token", first + place % patches.size(1)}};
  listed["patches"]["high"] = sizes.gt(kHighNorm).sum().item<int64_t>();
  listed["patches"]["count"] = patches.numel();
  layers_.push_back(std::move(listed));
  norms_.push_back(norms);
}

ordered_json summarise_norms(const ordered_json& layers) {
  const ordered_json &last = layers.back(), &patches = last["patches"];
  ordered_json summary = {{"layer", last["layer"]},
                          {"cls_median", last["cls"]["median"]},
                          {"register_median", nullptr},
                          {"patch_median", patches["median"]},
                          {"patch_max", patches["max"]},
                          {"high_patches", patches["high"]},
                          {"high_share", patches["high"].get<double>() / patches["count"].get<double>()}};
  if (last.contains("registers")) summary["register_median"] = last["registers"]["median"];
  return summary;
}

}  // namespace outliers::studies
