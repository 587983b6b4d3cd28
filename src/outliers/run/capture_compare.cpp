// The comparison of two captures: a part of two arrays at a time, however large they are and however small
// the files.
#include "outliers/run/capture_compare.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <set>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/shape.h"
#include "outliers/io/checkpoint.h"
#include "outliers/io/npz.h"
#include "outliers/run/capture_file.h"
#include "outliers/run/points.h"

namespace outliers::run {

bool is_npz_capture(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  require(ending == ".npz" || ending == ".safetensors", kArgument,
          "{}: a capture is an .npz or a .safetensors file", printable(path.string()));
  return ending == ".npz";
}

int64_t precision_bits(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return 8;
    case at::kHalf:
      return 11;
    case at::kFloat:
      return 24;
    default:
      return 53;
  }
}

namespace {

/// Values that are compared at a time.
constexpr int64_t kBlock = int64_t{1} << 20;

at::ScalarType dtype_of_precision(int64_t bits) {
  return bits <= 8 ? at::kBFloat16 : bits <= 11 ? at::kHalf : bits <= 24 ? at::kFloat : at::kDouble;
}

/// A tensor of a capture whose values are read in turn.
class Array {
 public:
  explicit Array(io::NpzArray array)
      : shape_(array.shape()),
        dtype_(array.dtype()),
        npz_(std::make_unique<io::NpzArray>(std::move(array))) {}
  explicit Array(const at::Tensor& tensor)
      : shape_(tensor.sizes().vec()), dtype_(tensor.scalar_type()), values_(tensor.reshape({-1})) {}

  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t size() const { return c10::multiply_integers(shape_); }
  at::ScalarType dtype() const { return dtype_; }
  at::Tensor next(int64_t count) {
    if (npz_) return npz_->next(count);
    done_ += count;
    return values_.narrow(0, done_ - count, count);
  }
  void finish() {
    if (npz_) npz_->finish();
  }

 private:
  std::vector<int64_t> shape_;
  at::ScalarType dtype_;
  std::unique_ptr<io::NpzArray> npz_;
  at::Tensor values_;
  int64_t done_ = 0;
};

/// A capture opened for reading.
class Source {
 public:
  explicit Source(const std::filesystem::path& path) : path_(printable(path.string())) {
    if (is_npz_capture(path)) {
      npz_ = std::make_unique<io::NpzReader>(path);
      names_.insert(npz_->names().begin(), npz_->names().end());
    } else {
      checkpoint_ = io::Checkpoint::open(path);
      for (const io::TensorInfo& info : checkpoint_->tensors()) names_.insert(info.name);
    }
  }

  const std::string& path() const { return path_; }
  bool has(const std::string& name) const { return names_.count(name) > 0; }
  const std::set<std::string>& names() const { return names_; }
  Array open(const std::string& name) const {
    if (npz_) return Array(npz_->open(name));
    const std::string& encoding = checkpoint_->find(name)->encoding;
    // Token ids are exact in float64.
    if (encoding.rfind("I", 0) == 0) return Array(checkpoint_->load(name, at::kDouble).to(at::kLong));
    return Array(checkpoint_->load(name, checkpoint_->native_dtype(name)));
  }
  /// Of the run, where the file says; else of the tensor.
  int64_t precision(at::ScalarType dtype) const {
    if (!has("precision")) return precision_bits(dtype);
    Array stated = open("precision");
    require(stated.size() > 0, "{}: the array precision is empty", path_);
    return stated.next(1).item<int64_t>();
  }

 private:
  std::string path_;
  std::unique_ptr<io::NpzReader> npz_;
  std::unique_ptr<io::Checkpoint> checkpoint_;
  std::set<std::string> names_;
};

/// Whether agree(x, y) holds for all blocks of two arrays of as many values.
bool agree(Array a, Array b, const std::function<bool(const at::Tensor&, const at::Tensor&)>& agree) {
  if (a.size() != b.size()) return false;
  for (int64_t done = 0, size = a.size(); done < size; done += kBlock) {
    check_interrupt();
    const int64_t count = std::min(kBlock, size - done);
    if (!agree(a.next(count), b.next(count))) return false;
  }
  a.finish();
  b.finish();
  return true;
}

/// Names that are points, in the order of computation.
std::vector<std::string> points_in_order(const std::set<std::string>& names) {
  std::set<std::pair<int64_t, std::pair<int, std::string>>> ordered;
  for (const std::string& name : names) {
    const auto& [layers, point] = split_site_name(name);
    const bool per_layer = !layers.empty();
    for (const PointInfo& info : point_table()) {
      if (info.name != point || info.per_layer != per_layer) continue;
      const int64_t layer = per_layer ? std::strtoll(layers.c_str(), nullptr, 10) : INT64_MAX;
      ordered.insert({layer, {static_cast<int>(info.point), name}});
    }
  }
  std::vector<std::string> result;
  for (const auto& [layer, point] : ordered) result.push_back(point.second);
  return result;
}

/// The largest of error / max(size, floor) over rows, for any floor. A row that another one beats in both, a
/// larger error over a smaller size, is not kept, so that few are.
class WorstRow {
 public:
  void add(const at::Tensor& errors, const at::Tensor& sizes) {
    const at::Tensor some = errors > 0;
    errors_ = errors_.defined() ? at::cat({errors_, errors.masked_select(some)}) : errors.masked_select(some);
    sizes_ = sizes_.defined() ? at::cat({sizes_, sizes.masked_select(some)}) : sizes.masked_select(some);
    if (errors_.numel() < 2) return;
    const at::Tensor order = sizes_.argsort(/*stable=*/true, 0, /*descending=*/false);
    errors_ = errors_.index_select(0, order);
    sizes_ = sizes_.index_select(0, order);
    const at::Tensor before = std::get<0>(errors_.cummax(0)).slice(0, 0, -1);
    const at::Tensor keep = at::cat({at::ones({1}, at::kBool), errors_.slice(0, 1) > before});
    errors_ = errors_.masked_select(keep);
    sizes_ = sizes_.masked_select(keep);
  }
  double over(double floor) const {
    if (!errors_.defined() || errors_.numel() == 0) return 0;
    return (errors_ / sizes_.clamp_min(floor)).max().item<double>();
  }

 private:
  at::Tensor errors_, sizes_;
};

/// Fills the differences of one point.
class PointDifference {
 public:
  PointDifference(Array& a, Array& b, PointComparison& result) : a_(a), b_(b), result_(result) {}

  void run() {
    const int64_t size = a_.size(), n = a_.shape().empty() ? 1 : a_.shape().back();
    // Whole rows, or parts of one.
    const int64_t step = n <= kBlock ? kBlock / std::max<int64_t>(n, 1) * n : kBlock;
    double row_error = 0, row_size = 0;
    for (int64_t begin = 0; begin < size;) {
      check_interrupt();
      const int64_t count = std::min(step, n <= kBlock ? size - begin : n - begin % n);
      const auto [error, scale] = block(begin, count);
      begin += count;
      if (n <= kBlock) {
        rows_.add(error.view({-1, n}).amax(1), scale.view({-1, n}).amax(1));
        continue;
      }
      row_error = std::max(row_error, error.max().item<double>());
      row_size = std::max(row_size, scale.max().item<double>());
      if (begin % n > 0) continue;
      rows_.add(at::full({1}, row_error, at::kDouble), at::full({1}, row_size, at::kDouble));
      row_error = row_size = 0;
    }
    a_.finish();
    b_.finish();
    // A row of zeros is held against a trillionth of the tensor's size instead of against nothing.
    result_.worst_relative = result_.worst_absolute / std::max(largest_, 1e-300);
    result_.worst_row = rows_.over(std::max(1e-12 * largest_, 1e-300));
  }

 private:
  /// Differences, and the sizes they are held against: zeros where a value is not finite.
  std::pair<at::Tensor, at::Tensor> block(int64_t begin, int64_t count) {
    const at::Tensor x = a_.next(count).to(at::kDouble), y = b_.next(count).to(at::kDouble);
    const at::Tensor finite = x.isfinite().logical_and(y.isfinite());
    const at::Tensor same = x.eq(y).logical_or(x.isnan().logical_and(y.isnan()));
    const at::Tensor odd = finite.logical_or(same).logical_not();
    const at::Tensor error = (x - y).abs().masked_fill(finite.logical_not(), 0.0);
    const at::Tensor size = y.abs().masked_fill(y.isfinite().logical_not(), 0.0);
    largest_ = std::max(largest_, size.max().item<double>());

    const auto place = [&](int64_t at) {
      result_.place.assign(a_.shape().size(), 0);
      for (int64_t i = static_cast<int64_t>(a_.shape().size()) - 1, flat = begin + at; i >= 0; --i) {
        const int64_t extent = a_.shape()[static_cast<size_t>(i)];
        result_.place[static_cast<size_t>(i)] = flat % extent;
        flat /= extent;
      }
      result_.value_a = x[at].item<double>();
      result_.value_b = y[at].item<double>();
    };
    const int64_t at = error.argmax().item<int64_t>();
    const double worst = error[at].item<double>();
    if (worst > result_.worst_absolute || begin == 0) {
      result_.worst_absolute = worst;
      if (result_.nonfinite == 0) place(at);
    }
    const auto nonfinite = odd.sum().item<int64_t>();
    if (nonfinite > 0 && result_.nonfinite == 0) place(odd.to(at::kByte).argmax().item<int64_t>());
    result_.nonfinite += nonfinite;
    return {error, size};
  }

  Array &a_, &b_;
  PointComparison& result_;
  WorstRow rows_;
  double largest_ = 0;
};

}  // namespace

CaptureTolerance default_tolerance(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return {5e-2, 2e-1};
    case at::kHalf:
      return {1e-2, 5e-2};
    case at::kFloat:
      return {1e-4, 1e-3};
    default:
      return {1e-5, 1e-5};
  }
}

CaptureComparison compare_captures(const std::filesystem::path& path_a, const std::filesystem::path& path_b,
                                   const CaptureTolerance* tolerance) {
  const Source a(path_a), b(path_b);
  if (a.has("ids") && b.has("ids")) {
    // Another program's capture may hold the ids of its one sequence as [T].
    const auto equal = [](const at::Tensor& x, const at::Tensor& y) {
      return at::equal(x.to(at::kLong), y.to(at::kLong));
    };
    require(agree(a.open("ids"), b.open("ids"), equal), "{} and {} are captures of different token ids",
            a.path(), b.path());
  }
  if (a.has(kCapturedPixels) && b.has(kCapturedPixels)) {
    Array x = a.open(kCapturedPixels), y = b.open(kCapturedPixels);
    const auto close = [](const at::Tensor& p, const at::Tensor& q) {
      return at::allclose(p.to(at::kFloat), q.to(at::kFloat), 1e-5, 1e-5);
    };
    require(x.shape() == y.shape() && agree(std::move(x), std::move(y), close),
            "{} and {} are captures of different images", a.path(), b.path());
  }
  CaptureComparison result;
  for (const std::string& name : points_in_order(b.names())) {
    if (!a.has(name)) result.only_in_b.push_back(name);
  }
  for (const std::string& name : points_in_order(a.names())) {
    if (!b.has(name)) {
      result.only_in_a.push_back(name);
      continue;
    }
    Array x = a.open(name), y = b.open(name);
    PointComparison point;
    point.name = name;
    point.shape = x.shape();
    point.dtype = dtype_of_precision(std::min(a.precision(x.dtype()), b.precision(y.dtype())));
    if (x.shape() != y.shape()) {
      point.problem = fmt::format("shape {} against {}", shape_string(x.shape()), shape_string(y.shape()));
      point.within = false;
    } else {
      PointDifference(x, y, point).run();
      const CaptureTolerance allowed = tolerance != nullptr ? *tolerance : default_tolerance(point.dtype);
      const bool rows_count = name.find(point_name(Point::attn_logits)) == std::string::npos;
      point.within = point.nonfinite == 0 && point.worst_relative <= allowed.whole &&
                     (!rows_count || point.worst_row <= allowed.row);
    }
    if (!point.within && result.first < 0) result.first = static_cast<int64_t>(result.points.size());
    result.points.push_back(std::move(point));
  }
  require(!result.points.empty(), "{} and {} have no point in common; points are named as in layer.3.down_in",
          a.path(), b.path());
  return result;
}

}  // namespace outliers::run
