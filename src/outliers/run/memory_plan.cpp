#include "outliers/run/memory_plan.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include "outliers/core/dtype.h"
#include "outliers/core/error.h"
#include "outliers/io/dequantize.h"
#include "outliers/run/branches.h"
#include "outliers/run/image_embedding.h"
#include "outliers/run/layer_weights.h"
#include "outliers/run/logit_blocks.h"
#include "outliers/run/rehearsal.h"
#include "outliers/run/tap.h"

namespace outliers::run {

namespace {

/// A row of the embedding maps whole pages, and the kernel maps those around them.
constexpr int64_t kPagesOfRow = int64_t{64} << 10;
/// float32 copies that computing a tensor from others takes at most (GPTQ's bits, scales, zeros).
constexpr int64_t kDerivedCopies = 6;
/// Histograms of magnitudes, of each thread and of all.
constexpr int64_t kHistogramBytes = int64_t{1} << 20;

int64_t size_of(at::ScalarType dtype) {
  return static_cast<int64_t>(c10::elementSize(dtype));
}

/// Sizes that are added and multiplied here are of a model that opened and of tokens that exist, so they stay
/// far below 2^63.
class Planner {
 public:
  Planner(const models::Model& model, const std::vector<Input>& inputs,
          const std::vector<Observer*>& observers, const RunOptions& options)
      : model_(model),
        c_(model.config()),
        branches_(inputs, model.config()),
        inputs_(branches_.inputs()),
        observers_(observers),
        options_(options),
        e_(size_of(options.dtype)),
        w_(size_of(wide_type(options.dtype))),
        on_host_(options.device.is_cpu()),
        rehearsal_(model, options.dtype) {
    layers_ = options.layers < 0 ? c_.layers : options.layers;
    for (size_t b = 0; b < inputs_.size(); ++b) {
      if (!inputs_[b].parent) embedded_ += inputs_[b].ids.numel();
      if (branches_.fork(b) <= layers_) tokens_ += inputs_[b].ids.numel();
      for (int64_t layer = branches_.fork(b); layer < layers_; ++layer) {
        passes_.push_back(
            {layer, b, branches_.tap(observers, layer, b, asking_), branches_.point_edits(b, layer)});
        passes_.back().tap.measure_sinks_over(options.sink_queries);
      }
    }
    for (Pass& pass : passes_) pass.tap.edit(&pass.edits);
    settle_reading();
    std::set<std::pair<int, int64_t>> tables;
    for (const Pass& pass : passes_)
      tables.emplace(c_.rotary_of_layer[static_cast<size_t>(pass.layer)], inputs_[pass.input].ids.size(1));
    for (const auto& [index, T] : tables) tables_ += on_host_ ? rehearsal_.rotary(index, T) : 0;
    for (size_t b = 0; b < inputs_.size() && options.logits && has_head(c_); ++b) {
      const std::vector<Point> kept = branches_.kept_points(b, -1);
      has_logits_ = has_logits_ || Tap(observers, -1, b, asking_).wants(Point::logits) ||
                    std::find(kept.begin(), kept.end(), Point::logits) != kept.end();
    }
  }

  MemoryPlan plan(int64_t chunk_tokens, bool spills, uint64_t process) {
    MemoryPlan plan;
    plan.chunk_tokens = chunk_tokens;
    plan.spills = spills && on_host_;
    plan.process = process;
    plan.reserve = kMemoryReserve + static_cast<uint64_t>(at::get_num_threads()) * kThreadReserve +
                   (on_host_ ? 0 : kDeviceReserve);
    plan.largest_layer = largest_layer();
    plan.weights = static_cast<uint64_t>(layer_bytes(plan.largest_layer));
    plan.reading = static_cast<uint64_t>(on_host_ ? reading_ + rehearsal_.weights(plan.largest_layer).moment
                                                  : std::max(reading_, expert_reading_));
    plan.mapped = largest_mapped();
    plan.work = static_cast<uint64_t>(work_bytes(chunk_tokens, plan.spills));
    const auto hidden = static_cast<uint64_t>(on_host_ ? tokens_ * c_.width * e_ : 0);
    plan.hidden = plan.spills ? 0 : hidden;
    plan.hidden_on_disk = plan.spills ? hidden : 0;
    uint64_t at_end = 0, held = 0;
    for (const Observer* observer : observers_) {
      const ObserverMemory memory = observer->memory(inputs_, options_.dtype, chunk_tokens);
      held += memory.held;
      plan.observers += memory.held + (plan.spills || !on_host_ ? 0 : memory.spillable);
      at_end += memory.at_end;
    }
    const uint64_t always = process + plan.reserve + held;
    int64_t kept = 0;
    for (int64_t layer = 0; layer < layers_; ++layer) kept = std::max(kept, kept_bytes(layer));
    const int64_t kept_at_end = options_.logits ? kept_bytes(-1) : 0;
    plan.edits = static_cast<uint64_t>(copied_weights() + (plan.spills || !on_host_ ? 0 : kept));
    plan.kept_on_disk = plan.spills ? static_cast<uint64_t>(std::max(kept, kept_at_end)) : 0;
    const uint64_t layers =
        plan.hidden + (plan.observers - held) + plan.weights + std::max(plan.reading, plan.work + plan.edits);
    const auto embedding = static_cast<uint64_t>(
        reads_images(c_) ? image_bytes(chunk_tokens) : embedding_bytes(chunk_tokens, plan.spills));
    plan.total = always + std::max({layers, plan.hidden + embedding, at_end});
    if (has_logits_ || options_.logit_blocks != nullptr) {
      const uint64_t logits = always + plan.hidden + static_cast<uint64_t>(logit_bytes(chunk_tokens)) +
                              static_cast<uint64_t>(plan.spills || !on_host_ ? 0 : kept_at_end);
      plan.keeps_head =
          has_logits_ && logits + static_cast<uint64_t>(head_bytes(true)) <= options_.memory_limit;
      plan.total = std::max(plan.total, logits + static_cast<uint64_t>(head_bytes(plan.keeps_head)));
    }
    return plan;
  }

  int64_t longest() const {
    int64_t longest = 1;
    for (const Input& input : inputs_) longest = std::max(longest, input.ids.size(1));
    return longest;
  }

 private:
  /// Layers differ where some are of experts.
  int64_t largest_layer() {
    int64_t largest = 0;
    for (int64_t layer = 1; layer < layers_; ++layer) {
      if (is_routed(c_, layer) != is_routed(c_, largest) && layer_bytes(layer) > layer_bytes(largest)) {
        largest = layer;
      }
    }
    return largest;
  }

  /// With the experts that tokens choose.
  int64_t layer_bytes(int64_t layer) {
    if (!on_host_) return 0;
    const WeightMemory weights = rehearsal_.weights(layer);
    return weights.kept + weights.expert * chosen_experts();
  }

  /// What reading the largest takes for a moment beside the result, or with it where that is on a GPU:
  /// weights before tokens pass a layer, and experts while they do.
  void settle_reading() {
    for (const models::StoredWeight& weight : model_.weights().all()) {
      if (!weight.name.starts_with("layer.")) continue;
      const int64_t parts = weight.of_experts ? weight.shape.front() : 1;
      const int64_t elements = c10::multiply_integers(weight.shape) / std::max<int64_t>(parts, 1);
      int64_t& largest = weight.of_experts ? expert_reading_ : reading_;
      largest = std::max(largest, moment_of(weight, elements) + (on_host_ ? 0 : elements * width_of(weight)));
    }
  }

  /// Vectors are those of norms, which are wide.
  int64_t width_of(const models::StoredWeight& weight) const { return weight.shape.size() == 1 ? w_ : e_; }

  /// The pages of one tensor, or of one expert's part of it.
  int64_t mapped_bytes(const models::StoredWeight& weight) const {
    const io::TensorInfo& info = *model_.checkpoint().find(weight.stored.front());
    const int64_t share = weight.of_experts && weight.stored.size() == 1 ? weight.shape.front() : 1;
    return static_cast<int64_t>(info.bytes) / std::max<int64_t>(share, 1);
  }

  uint64_t largest_mapped() const {
    int64_t largest = 0;
    for (const models::StoredWeight& weight : model_.weights().all()) {
      if (weight.name.starts_with("layer.")) largest = std::max(largest, mapped_bytes(weight));
    }
    return static_cast<uint64_t>(largest);
  }

  /// What reading one tensor, or one expert's part of it, takes beside the result.
  int64_t moment_of(const models::StoredWeight& weight, int64_t elements) const {
    const io::TensorInfo& info = *model_.checkpoint().find(weight.stored.front());
    int64_t bytes = mapped_bytes(weight);
    if (io::find_encoding(info.encoding) == nullptr) bytes += kDerivedCopies * elements * size_of(at::kFloat);
    const bool rearranged = weight.transform == models::Transform::unpermute ||
                            weight.transform == models::Transform::ungroup_qkv;
    bytes += rearranged ? elements * e_ : 0;
    // Statistics of a matrix keep a few of its values.
    return bytes + elements / 4;
  }

  /// Of one chunk, at the layer where most is alive, beside the weights and what waits: all hidden states,
  /// but for those on disk.
  int64_t work_bytes(int64_t chunk_tokens, bool spills) {
    if (!on_host_) return 0;
    int64_t largest = 0;
    for (const Pass& pass : passes_) {
      const Input& input = inputs_[pass.input];
      const int64_t T = input.ids.size(1), B = chunk_of(pass.input, chunk_tokens);
      const bool shared = !input.parent && !input.edits.empty();
      int64_t bytes = rehearsal_.work(pass.layer, B, T, pass.tap, shared);
      if (!spills) bytes -= B * T * c_.width * e_;
      if (is_routed(c_, pass.layer)) bytes += expert_reading_;
      bytes += edit_bytes(pass.input, pass.layer, B);
      largest = std::max(largest, bytes);
    }
    return largest + tables_;
  }

  int64_t chunk_of(size_t input, int64_t chunk_tokens) const {
    const at::Tensor& ids = inputs_[input].ids;
    return std::min(ids.size(0), chunk_sequences(chunk_tokens, ids.size(1)));
  }

  int64_t chosen_experts() const { return std::min(c_.experts.count, tokens_ * c_.experts.used); }

  /// Elements of a point of B sequences, and the bytes of one.
  int64_t elements_of(Point point, size_t input, int64_t B) const {
    const char* shape = point_table()[static_cast<size_t>(point)].shape;
    return c10::multiply_integers(resolve_shape(shape, c_, B, inputs_[input].ids.size(1)));
  }
  int64_t element_of(Point point) const {
    return point == Point::attn_logits || point == Point::attn_probs ? w_ : e_;
  }

  /// Points of all inputs that edits of a layer need whole, in an input's own dtype; of its median, the
  /// tokens that have a selected entry are put together once more.
  int64_t kept_bytes(int64_t layer) const {
    int64_t bytes = 0;
    for (size_t b = 0; b < inputs_.size(); ++b) {
      if (inputs_[b].parent) continue;
      const int64_t B = inputs_[b].ids.size(0);
      for (const Point point : branches_.kept_points(b, layer)) {
        bytes += elements_of(point, b, B) * element_of(point);
        if (is_by_expert(point)) bytes += elements_of(Point::experts_index, b, B) * size_of(at::kLong);
      }
    }
    return bytes;
  }

  int64_t copied_weights() const {
    int64_t largest = 0;
    for (const Pass& pass : passes_) {
      const std::vector<const Edit*> edits = branches_.weight_edits(pass.input, pass.layer);
      largest = std::max(largest, edited_weight_bytes(c_, edits, e_, chosen_experts()));
    }
    return largest;
  }

  /// What edits take to look at whole points, chunk by chunk, but for medians: masks, what is selected, and
  /// sums in float64.
  int64_t edit_bytes(size_t input, int64_t layer, int64_t B) const {
    int64_t largest = 0;
    for (const Edit& edit : inputs_[input].edits) {
      const auto* site = std::get_if<Site>(&edit.site);
      if (site == nullptr || site->layer != layer || !edit.needs_statistics()) continue;
      const int64_t n = elements_of(site->point, input, B), e = element_of(site->point);
      int64_t bytes = n * (2 * e + 4 * size_of(at::kDouble) + 4);
      if (edit.selection.massive || edit.selection.outlier)
        bytes += (1 + at::get_num_threads()) * kHistogramBytes + n * size_of(at::kFloat);
      if (edit.operation.kind == Operation::Kind::median)
        bytes +=
            elements_of(site->point, input, inputs_[input].ids.size(0)) * (2 * e + 4 * size_of(at::kFloat));
      largest = std::max(largest, bytes);
    }
    return largest;
  }

  /// What edits of the model's own points take for a moment: masks, changed values and noise.
  int64_t applied_bytes(size_t input, int64_t B) const {
    int64_t bytes = 0;
    for (const Edit& edit : inputs_[input].edits) {
      const auto* site = std::get_if<Site>(&edit.site);
      if (site == nullptr || site->layer >= 0) continue;
      bytes +=
          elements_of(site->point, input, B) * (4 * element_of(site->point) + 3 + 3 * size_of(at::kFloat));
    }
    return bytes;
  }

  /// A LayerNorm of a 16-bit dtype is computed in float32.
  int64_t norm_copies() const { return c_.norm == models::NormKind::layer && e_ < w_ ? 2 * w_ : 0; }

  /// Ids are joined and sorted, with their places; then the rows become hidden states.
  int64_t embedding_bytes(int64_t chunk_tokens, bool spills) const {
    const io::TensorInfo& info =
        *model_.checkpoint().find(model_.weights().find("embedding.weight")->stored.front());
    const int64_t V = std::max<int64_t>(c_.vocabulary, 1), rows = std::min(embedded_, V);
    const auto stored = static_cast<int64_t>(info.bytes);
    int64_t bytes = embedded_ * 4 * size_of(at::kLong) + rows * c_.embedding_width * e_;
    int64_t chunk = 0;
    for (size_t b = 0; b < inputs_.size(); ++b)
      chunk = std::max(chunk, chunk_of(b, chunk_tokens) * inputs_[b].ids.size(1));
    if (spills && on_host_) bytes += chunk * c_.width * e_;
    bytes += std::min(stored, rows * (stored / V + kPagesOfRow));
    if (c_.embedding_width != c_.width) bytes += (rows + c_.embedding_width) * c_.width * e_;
    if (c_.positions == models::Positions::learned) bytes += longest() * c_.width * 2 * w_;
    return bytes;
  }

  /// What makes tokens of a chunk of images: weights for each size of image, and what one takes to be read.
  int64_t image_bytes(int64_t chunk_tokens) {
    int64_t reading = 0, work = 0, moment = 0, kept = 0;
    for (const models::StoredWeight& weight : model_.weights().all()) {
      if (weight.name.starts_with("layer.")) continue;
      reading = std::max(reading, moment_of(weight, c10::multiply_integers(weight.shape)));
    }
    std::set<std::pair<int64_t, int64_t>> grids;
    for (size_t b = 0; b < inputs_.size(); ++b) {
      const Input& input = inputs_[b];
      if (input.parent) continue;
      std::vector<int64_t> pixels = input.pixels.sizes().vec();
      pixels.front() = chunk_of(b, chunk_tokens);
      const models::PatchGrid grid = models::patch_grid(c_, pixels[2], pixels[3], input.name);
      const WeightMemory weights = rehearsal_.image_weights(grid);
      if (grids.emplace(grid.rows, grid.columns).second) kept += weights.kept;
      moment = std::max(moment, weights.moment);
      if (on_host_) work = std::max(work, rehearsal_.image_work(grid, pixels));
    }
    return kept + std::max(moment + reading, work);
  }

  /// Of one group of sequences, from the hidden states of its chunk on.
  int64_t logit_bytes(int64_t chunk_tokens) const {
    if (!on_host_) return 0;
    int64_t largest = 0;
    for (const Input& input : inputs_) {
      const int64_t T = input.ids.size(1), B = std::min(input.ids.size(0), chunk_sequences(chunk_tokens, T));
      const int64_t group = std::min(B, logit_group(c_, T));
      largest = std::max(largest, B * T * (c_.width * (3 * e_ + norm_copies()) + c_.embedding_width * e_) +
                                      (has_logits_ ? group * T * c_.vocabulary * e_ : 0) +
                                      (options_.logit_blocks ? logit_block_bytes(c_, B * T, e_) : 0));
    }
    int64_t edits = 0;
    for (size_t b = 0; b < inputs_.size(); ++b) {
      const int64_t B = chunk_of(b, chunk_tokens);
      edits = std::max(edits, edit_bytes(b, -1, B) + applied_bytes(b, B));
    }
    return largest + edits;
  }

  int64_t head_bytes(bool whole) const {
    const io::TensorInfo& info = *model_.checkpoint().find(model_.head().stored.front());
    const int64_t V = std::max<int64_t>(c_.vocabulary, 1), rows = std::min(V, kVocabularyRows);
    const int64_t stored = static_cast<int64_t>(info.bytes) / V * rows;
    const int64_t derived =
        io::find_encoding(info.encoding) == nullptr ? kDerivedCopies * size_of(at::kFloat) : 0;
    const int64_t kept = on_host_ ? (whole ? V : rows) : 0;
    return stored + c_.embedding_width * (rows * derived + kept * e_ + (on_host_ ? 0 : rows * e_)) +
           (c_.embedding_width != c_.width ? c_.embedding_width * c_.width * e_ : 0);
  }

  const models::Model& model_;
  const models::Config& c_;
  const Branches branches_;
  const std::vector<Input>& inputs_;  ///< with what branches have of their parents
  const std::vector<Observer*>& observers_;
  const RunOptions& options_;
  const int64_t e_, w_;  ///< bytes of an element, of a wide one
  const bool on_host_;
  Rehearsal rehearsal_;
  int64_t tokens_ = 0, embedded_ = 0, layers_ = 0;  ///< tokens_: of all that have hidden states in the end
  int64_t tables_ = 0;                              ///< bytes of rotaries
  int64_t reading_ = 0, expert_reading_ = 0;
  bool has_logits_ = false;
  Stopwatch asking_;
  struct Pass {
    int64_t layer;
    size_t input;
    Tap tap;
    LayerEdits edits;
  };
  std::vector<Pass> passes_;
};

/// "3.42 GB", "812 MB": rounded up, so that what is named is enough.
std::string size_text(uint64_t bytes) {
  if (bytes < 1'000'000'000) return fmt::format("{} MB", (bytes + 999'999) / 1'000'000);
  return fmt::format("{:.2f} GB", std::ceil(static_cast<double>(bytes) / 1e7) / 100);
}

}  // namespace

int64_t chunk_sequences(int64_t chunk_tokens, int64_t T) {
  return std::max<int64_t>(1, chunk_tokens / T);
}

int64_t logit_group(const models::Config& config, int64_t T) {
  return std::max<int64_t>(1, kLogitElements / (T * config.vocabulary));
}

MemoryPlan plan_memory(const models::Model& model, const std::vector<Input>& inputs,
                       const std::vector<Observer*>& observers, const RunOptions& options,
                       uint64_t process_bytes) {
  MemoryPlan plan;
  plan.chunk_tokens = options.chunk_tokens;
  if (options.memory_limit == 0) return plan;
  Planner planner(model, inputs, observers, options);
  plan = planner.plan(options.chunk_tokens, false, process_bytes);
  for (int64_t chunk = options.chunk_tokens; plan.total > options.memory_limit && chunk >= 1; chunk /= 2) {
    plan = planner.plan(chunk, true, process_bytes);
  }
  require(
      plan.total <= options.memory_limit,
      Cause{ErrorKind::memory, {Setting::memory_limit, Setting::dtype, Setting::tokens}},
      "{} of memory are too few to run {} in {}: {} are needed, of which {} are the weights of layer {}, {} "
      "the work space of one sequence of {} tokens, {} what is measured and {} the program; raise the "
      "limit, or take a 16-bit dtype or fewer tokens",
      size_text(options.memory_limit), printable(model.config().name), dtype_name(options.dtype),
      size_text(plan.total), size_text(plan.weights), plan.largest_layer, size_text(plan.work),
      planner.longest(), size_text(plan.observers), size_text(plan.process + plan.reserve));
  return plan;
}

}  // namespace outliers::run
