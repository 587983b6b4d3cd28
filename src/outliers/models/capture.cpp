#include "outliers/models/capture.h"

#include <algorithm>
#include <set>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/core/shape.h"
#include "outliers/io/npz.h"
#include "outliers/io/safetensors.h"

namespace outliers::models {

namespace {

bool is_npz(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  require(ending == ".npz" || ending == ".safetensors", "{}: a capture is an .npz or a .safetensors file",
          printable(path.string()));
  return ending == ".npz";
}

/// What transformers calls a model's images.
constexpr const char* kPixels = "pixel_values";

bool is_scores(Point point) {
  return point == Point::attn_logits || point == Point::attn_probs;
}

/// Of a point's tensor in the file.
at::ScalarType stored_dtype(Point point, at::ScalarType run, bool store_float32) {
  if (point == Point::experts_index) return at::kLong;
  return store_float32 || (is_scores(point) && run != at::kDouble) ? at::kFloat : run;
}

/// Where the tensors go; both formats take them one by one.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void add(const std::string& name, const at::Tensor& tensor) = 0;
  virtual void commit() = 0;
};

template <typename Writer>
class WriterSink : public Sink {
 public:
  template <typename... Args>
  explicit WriterSink(Args&&... args) : writer_(std::forward<Args>(args)...) {}
  void add(const std::string& name, const at::Tensor& tensor) override { writer_.add(name, tensor); }
  void commit() override { writer_.commit(); }

 private:
  Writer writer_;
};

/// Collects one layer's tensors and writes them in order at its end.
class Writing : public Observer {
 public:
  Writing(const Config& config, const std::vector<Site>& sites, Sink& sink, bool store_float32)
      : config_(config), sites_(sites.begin(), sites.end()), sink_(sink), store_float32_(store_float32) {}

  bool wants(const Site& site, size_t) const override { return sites_.count(site) > 0; }
  void on_point(const Site& site, const Slice&, const at::Tensor& x) override {
    const at::Tensor kept = store_float32_ && x.is_floating_point() ? x.to(at::kFloat) : x;
    parts_[site].push_back(kept.cpu());
  }
  void on_layer_end(int64_t) override { write(); }
  /// A layer's points, and once more the one that is put together and written.
  ObserverMemory memory(const std::vector<Batch>& batches, at::ScalarType dtype, int64_t) const override {
    std::map<int64_t, uint64_t> layers;
    uint64_t largest = 0;
    for (const Site& site : sites_) {
      const at::Tensor& ids = batches.front().ids;
      const std::vector<int64_t> shape = resolve_shape(point_table()[static_cast<size_t>(site.point)].shape,
                                                       config_, ids.size(0), ids.size(1));
      const auto elements = static_cast<uint64_t>(c10::multiply_integers(shape));
      const uint64_t bytes = elements * c10::elementSize(stored_dtype(site.point, dtype, store_float32_));
      layers[site.layer] += bytes;
      largest = std::max(largest, bytes);
    }
    uint64_t held = 0;
    for (const auto& [layer, bytes] : layers) held = std::max(held, bytes);
    return {.held = held + largest};
  }
  void write() {
    for (auto& [site, parts] : parts_) {
      sink_.add(site_name(site), (parts.size() == 1 ? parts.front() : at::cat(parts)).contiguous());
      parts.clear();
    }
    parts_.clear();
  }

 private:
  const Config& config_;
  std::set<Site> sites_;
  Sink& sink_;
  bool store_float32_;
  std::map<Site, std::vector<at::Tensor>> parts_;
};

int64_t precision_of(at::ScalarType dtype) {
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

at::ScalarType dtype_of_precision(int64_t bits) {
  return bits <= 8 ? at::kBFloat16 : bits <= 11 ? at::kHalf : bits <= 24 ? at::kFloat : at::kDouble;
}

/// The stored shape and dtype of every tensor, which safetensors wants up front.
std::vector<io::TensorPlan> plan_of(const Model& model, const Batch& batch, const std::vector<Site>& sites,
                                    const CaptureOptions& options) {
  const at::Tensor& ids = batch.ids;
  std::vector<io::TensorPlan> plan = {{"ids", ids.sizes().vec(), at::kLong}, {"precision", {1}, at::kLong}};
  if (batch.pixels.defined()) plan.push_back({kPixels, batch.pixels.sizes().vec(), at::kFloat});
  for (const Site& site : sites) {
    const char* symbolic = point_table()[static_cast<size_t>(site.point)].shape;
    plan.push_back({site_name(site), resolve_shape(symbolic, model.config(), ids.size(0), ids.size(1)),
                    stored_dtype(site.point, options.run.dtype, options.store_float32)});
  }
  return plan;
}

/// A capture opened for reading.
class Source {
 public:
  explicit Source(const std::filesystem::path& path) {
    if (is_npz(path)) {
      npz_ = std::make_unique<io::NpzReader>(path);
      names_.insert(npz_->names().begin(), npz_->names().end());
    } else {
      checkpoint_ = io::Checkpoint::open(path);
      for (const io::TensorInfo& info : checkpoint_->tensors()) names_.insert(info.name);
    }
  }

  bool has(const std::string& name) const { return names_.count(name) > 0; }
  const std::set<std::string>& names() const { return names_; }
  at::Tensor read(const std::string& name) const {
    if (npz_) return npz_->read(name);
    const std::string& encoding = checkpoint_->find(name)->encoding;
    // Token ids are exact in float64.
    if (encoding.rfind("I", 0) == 0) return checkpoint_->load(name, at::kDouble).to(at::kLong);
    return checkpoint_->load(name, checkpoint_->native_dtype(name));
  }
  /// Of the run, where the file says; else of the tensor.
  int64_t precision(const at::Tensor& tensor) const {
    return has("precision") ? read("precision").reshape({-1})[0].item<int64_t>()
                            : precision_of(tensor.scalar_type());
  }

 private:
  std::unique_ptr<io::NpzReader> npz_;
  std::unique_ptr<io::Checkpoint> checkpoint_;
  std::set<std::string> names_;
};

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

std::vector<int64_t> place_of(int64_t flat, at::IntArrayRef shape) {
  std::vector<int64_t> place(shape.size());
  for (size_t i = shape.size(); i-- > 0;) {
    place[i] = flat % shape[i];
    flat /= shape[i];
  }
  return place;
}

/// Fills the differences of one point, some rows at a time: logits are large.
void compare_tensors(const at::Tensor& a, const at::Tensor& b, PointComparison& result) {
  const int64_t n = a.dim() == 0 ? 1 : a.size(-1), rows = n == 0 ? 0 : a.numel() / n;
  if (rows == 0) return;
  const at::Tensor rows_a = a.reshape({rows, n}), rows_b = b.reshape({rows, n});
  const int64_t step = std::max<int64_t>(1, (int64_t{1} << 20) / n);
  double largest = 0;
  std::vector<at::Tensor> row_errors, row_sizes;
  int64_t worst_flat = 0;
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t count = std::min(step, rows - begin);
    const at::Tensor x = rows_a.narrow(0, begin, count).to(at::kDouble);
    const at::Tensor y = rows_b.narrow(0, begin, count).to(at::kDouble);
    const at::Tensor finite = x.isfinite().logical_and(y.isfinite());
    const at::Tensor same = x.eq(y).logical_or(x.isnan().logical_and(y.isnan()));
    result.nonfinite += finite.logical_or(same).logical_not().sum().item<int64_t>();
    const at::Tensor error = (x - y).abs().masked_fill(finite.logical_not(), 0.0);
    const at::Tensor size = y.abs().masked_fill(y.isfinite().logical_not(), 0.0);
    row_errors.push_back(error.amax(1));
    row_sizes.push_back(size.amax(1));
    largest = std::max(largest, size.max().item<double>());
    const int64_t at = error.argmax().item<int64_t>();
    const double worst = error.reshape({-1})[at].item<double>();
    if (worst > result.worst_absolute || begin == 0) {
      result.worst_absolute = worst;
      worst_flat = begin * n + at;
    }
  }
  result.place = place_of(worst_flat, a.sizes());
  result.value_a = a.reshape({-1})[worst_flat].item<double>();
  result.value_b = b.reshape({-1})[worst_flat].item<double>();
  // A row of zeros is held against a trillionth of the tensor's size instead of against nothing.
  const double floor = std::max(1e-12 * largest, 1e-300);
  result.worst_relative = result.worst_absolute / std::max(largest, 1e-300);
  result.worst_row = (at::cat(row_errors) / at::cat(row_sizes).clamp_min(floor)).max().item<double>();
}

}  // namespace

RunTimes capture(const Model& model, const Batch& batch, const std::vector<Site>& sites,
                 const std::filesystem::path& path, const CaptureOptions& options) {
  require(!sites.empty(), "there is no point to capture");
  const bool npz = is_npz(path);
  CaptureOptions complete = options;
  complete.run.logits =
      std::any_of(sites.begin(), sites.end(), [](const Site& site) { return site.layer < 0; });

  std::unique_ptr<Sink> sink;
  if (npz) {
    sink = std::make_unique<WriterSink<io::NpzWriter>>(path, options.force);
  } else {
    sink = std::make_unique<WriterSink<io::SafetensorsWriter>>(path, options.force,
                                                               plan_of(model, batch, sites, complete));
  }
  sink->add("ids", batch.ids);
  sink->add("precision", at::full({1}, precision_of(options.run.dtype), at::kLong));
  if (batch.pixels.defined()) sink->add(kPixels, batch.pixels.to(at::kFloat).contiguous());
  Writing writing(model.config(), sites, *sink, options.store_float32);
  const RunTimes times = run(model, {batch}, {&writing}, complete.run);
  writing.write();
  sink->commit();
  return times;
}

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
    require(at::equal(a.read("ids").to(at::kLong).flatten(), b.read("ids").to(at::kLong).flatten()),
            "{} and {} are captures of different token ids", printable(path_a.string()),
            printable(path_b.string()));
  }
  if (a.has(kPixels) && b.has(kPixels)) {
    const at::Tensor x = a.read(kPixels).to(at::kFloat), y = b.read(kPixels).to(at::kFloat);
    require(x.sizes() == y.sizes() && at::allclose(x, y, 1e-5, 1e-5),
            "{} and {} are captures of different images", printable(path_a.string()),
            printable(path_b.string()));
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
    const at::Tensor x = a.read(name), y = b.read(name);
    PointComparison point;
    point.name = name;
    point.shape = x.sizes().vec();
    point.dtype = dtype_of_precision(std::min(a.precision(x), b.precision(y)));
    if (x.sizes() != y.sizes()) {
      point.problem = fmt::format("shape {} against {}", shape_string(x.sizes()), shape_string(y.sizes()));
      point.within = false;
    } else {
      compare_tensors(x, y, point);
      const CaptureTolerance allowed = tolerance != nullptr ? *tolerance : default_tolerance(point.dtype);
      const bool rows_count = name.find(point_name(Point::attn_logits)) == std::string::npos;
      point.within = point.nonfinite == 0 && point.worst_relative <= allowed.whole &&
                     (!rows_count || point.worst_row <= allowed.row);
    }
    if (!point.within && result.first < 0) result.first = static_cast<int64_t>(result.points.size());
    result.points.push_back(std::move(point));
  }
  require(!result.points.empty(), "{} and {} have no point in common; points are named as in layer.3.down_in",
          printable(path_a.string()), printable(path_b.string()));
  return result;
}

}  // namespace outliers::models
