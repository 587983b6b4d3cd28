#include "outliers/run/capture.h"

#include <algorithm>
#include <set>

#include <ATen/ATen.h>

#include "outliers/core/shape.h"
#include "outliers/io/npz.h"
#include "outliers/io/safetensors.h"
#include "outliers/run/capture_file.h"
#include "outliers/run/error.h"

namespace outliers::run {

namespace {

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
  Writing(const models::Config& config, const std::vector<Site>& sites, Sink& sink, bool store_float32)
      : config_(config), sites_(sites.begin(), sites.end()), sink_(sink), store_float32_(store_float32) {}

  bool wants(const Site& site, size_t) const override { return sites_.count(site) > 0; }
  void on_point(const Site& site, const Slice&, const at::Tensor& x) override {
    const at::Tensor kept = store_float32_ && x.is_floating_point() ? x.to(at::kFloat) : x;
    parts_[site].push_back(kept.cpu());
  }
  void on_layer_end(int64_t) override { write(); }
  /// A layer's points, and once more the one that is put together and written.
  ObserverMemory memory(const std::vector<Input>& inputs, at::ScalarType dtype, int64_t) const override {
    std::map<int64_t, uint64_t> layers;
    uint64_t largest = 0;
    for (const Site& site : sites_) {
      const at::Tensor& ids = inputs.front().ids;
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
  const models::Config& config_;
  std::set<Site> sites_;
  Sink& sink_;
  bool store_float32_;
  std::map<Site, std::vector<at::Tensor>> parts_;
};

/// The stored shape and dtype of every tensor, which safetensors wants up front.
std::vector<io::TensorPlan> plan_of(const models::Model& model, const Input& input,
                                    const std::vector<Site>& sites, const CaptureOptions& options) {
  const at::Tensor& ids = input.ids;
  std::vector<io::TensorPlan> plan = {{"ids", ids.sizes().vec(), at::kLong}, {"precision", {1}, at::kLong}};
  if (input.pixels.defined()) plan.push_back({kCapturedPixels, input.pixels.sizes().vec(), at::kFloat});
  for (const Site& site : sites) {
    const char* symbolic = point_table()[static_cast<size_t>(site.point)].shape;
    plan.push_back({site_name(site), resolve_shape(symbolic, model.config(), ids.size(0), ids.size(1)),
                    stored_dtype(site.point, options.run.dtype, options.store_float32)});
  }
  return plan;
}

}  // namespace

RunTimes capture(const models::Model& model, const Input& input, const std::vector<Site>& sites,
                 const std::filesystem::path& path, const CaptureOptions& options) {
  require(!sites.empty(), "there is no point to capture");
  const bool npz = is_npz_capture(path);
  CaptureOptions complete = options;
  complete.run.logits =
      std::any_of(sites.begin(), sites.end(), [](const Site& site) { return site.layer < 0; });

  std::unique_ptr<Sink> sink;
  if (npz) {
    sink = std::make_unique<WriterSink<io::NpzWriter>>(path, options.force);
  } else {
    sink = std::make_unique<WriterSink<io::SafetensorsWriter>>(path, options.force,
                                                               plan_of(model, input, sites, complete));
  }
  sink->add("ids", input.ids);
  sink->add("precision", at::full({1}, precision_bits(options.run.dtype), at::kLong));
  if (input.pixels.defined()) sink->add(kCapturedPixels, input.pixels.to(at::kFloat).contiguous());
  Writing writing(model.config(), sites, *sink, options.store_float32);
  const RunTimes times = forward(model, {input}, {&writing}, complete.run);
  writing.write();
  sink->commit();
  return times;
}

}  // namespace outliers::run
