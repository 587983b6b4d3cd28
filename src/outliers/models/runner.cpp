#include "outliers/models/runner.h"

#include <algorithm>
#include <future>
#include <map>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/shape.h"
#include "outliers/models/block.h"
#include "outliers/models/image_embedding.h"
#include "outliers/models/layer_weights.h"
#include "outliers/models/process_age.h"
#include "outliers/models/rotary.h"
#include "outliers/models/tap.h"

namespace outliers::models {

namespace {

/// Logits of one group of sequences stay below this many elements (unless one sequence has more).
constexpr int64_t kLogitElements = int64_t{1} << 28;
/// Rows of the output matrix that are dequantised at a time.
constexpr int64_t kVocabularyRows = 8192;

/// Whole sequences that pass a layer together.
struct Chunk {
  Slice slice;
  at::Tensor hidden;  // [b,T,D]
};

class Run {
 public:
  Run(const Model& model, const std::vector<Batch>& batches, const std::vector<Observer*>& observers,
      const RunOptions& options)
      : model_(model), config_(model.config()), batches_(batches), observers_(observers), options_(options) {
    check();
  }

  RunTimes operator()() {
    const at::NoGradGuard no_grad;
    const double begin = process_age_seconds();
    const int64_t layers = options_.layers < 0 ? config_.layers : options_.layers;
    prefetch_layer(model_, 0);
    embed();
    for (int64_t layer = 0; layer < layers; ++layer) run_one_layer(layer, layer + 1 < layers);
    if (options_.logits) finish();
    times_.load_seconds = loading_.seconds();
    times_.observer_seconds = observing_.seconds();
    times_.forward_seconds = process_age_seconds() - begin - times_.load_seconds - times_.observer_seconds;
    return times_;
  }

 private:
  void check() const {
    require(at::isFloatingType(options_.dtype) && c10::elementSize(options_.dtype) >= 2,
            "a run computes in float32, bfloat16, float16 or float64, not {}", toString(options_.dtype));
    require(options_.chunk_tokens >= 1, "chunk_tokens is {}, but should be at least 1",
            options_.chunk_tokens);
    require(options_.layers >= -1 && options_.layers <= config_.layers,
            "cannot run {} layers of a model with {}", options_.layers, config_.layers);
    require(!options_.logits || options_.layers < 0 || options_.layers == config_.layers,
            "logits need all {} layers, but the run stops after {}", config_.layers, options_.layers);
    for (const Batch& batch : batches_) {
      check_shape(batch.ids, "run", "ids", {-1, -1});
      require(batch.ids.scalar_type() == at::kLong && batch.ids.is_cpu() && batch.ids.numel() > 0,
              "run: the ids of batch '{}' should be a non-empty int64 tensor on the CPU", batch.name);
      if (reads_images(config_)) {
        check_images(batch);
        continue;
      }
      const int64_t low = batch.ids.min().item<int64_t>(), high = batch.ids.max().item<int64_t>();
      require(low >= 0 && high < config_.vocabulary,
              "token id {} of batch '{}' is outside the vocabulary of {}", low < 0 ? low : high, batch.name,
              config_.vocabulary);
      require(config_.positions != Positions::learned || batch.ids.size(1) <= config_.max_positions,
              "batch '{}' has sequences of {} tokens, but the model has only learnt {} positions", batch.name,
              batch.ids.size(1), config_.max_positions);
    }
  }

  void check_images(const Batch& batch) const {
    require(batch.pixels.defined(), "batch '{}' has no images, but this model reads nothing else",
            batch.name);
    check_shape(batch.pixels, "run", "pixels", {batch.ids.size(0), config_.vision.channels, -1, -1});
    const PatchGrid grid = patch_grid(config_, batch.pixels.size(2), batch.pixels.size(3), batch.name);
    check_shape(batch.ids, "run", "ids", {-1, image_tokens(config_, grid)});
  }

  at::Tensor load(const std::string& name) {
    return loading_.time([&] { return load_once(model_, name, options_.dtype).to(options_.device); });
  }

  void embed_images() {
    for (size_t b = 0; b < batches_.size(); ++b) {
      const at::Tensor& pixels = batches_[b].pixels;
      const PatchGrid grid = patch_grid(config_, pixels.size(2), pixels.size(3), batches_[b].name);
      const ImageEmbedding embedding =
          loading_.time([&] { return ImageEmbedding(model_, grid, options_.dtype, options_.device); });
      const int64_t B = pixels.size(0),
                    step = std::max<int64_t>(1, options_.chunk_tokens / batches_[b].ids.size(1));
      for (int64_t first = 0; first < B; first += step) {
        chunks_.push_back({{b, first}, embedding(pixels.narrow(0, first, std::min(step, B - first)))});
      }
    }
  }

  /// Reads the rows of the embedding that occur, and splits the batches into chunks.
  void embed() {
    if (reads_images(config_)) {
      embed_images();
      return;
    }
    const bool projects = config_.embedding_width != config_.width;
    const at::Tensor projection = projects ? load("embedding_projection.weight") : at::Tensor();
    for (size_t b = 0; b < batches_.size(); ++b) {
      const at::Tensor& ids = batches_[b].ids;
      const auto [unique, index] = at::_unique(ids, /*sorted=*/true, /*return_inverse=*/true);
      at::Tensor rows = loading_.time([&, unique_ids = unique] {
        at::Tensor loaded = load_rows("embedding.weight", unique_ids);
        if (config_.embedding_scale != 1.0) {
          loaded.mul_(at::scalar_tensor(config_.embedding_scale, loaded.options()));
        }
        return loaded.to(options_.device);
      });
      if (projects) rows = at::linear(rows, projection);
      const at::Tensor where = index.to(options_.device);
      const int64_t T = ids.size(1), step = std::max<int64_t>(1, options_.chunk_tokens / T);
      at::Tensor positions;  // [T,D]
      if (config_.positions == Positions::learned) {
        const at::Tensor taken = at::arange(T, at::kLong) + config_.position_offset;
        positions = loading_.time([&] { return load_rows("positions.weight", taken).to(options_.device); });
      }
      for (int64_t first = 0; first < ids.size(0); first += step) {
        const at::Tensor part = where.narrow(0, first, std::min(step, ids.size(0) - first));
        chunks_.push_back({{b, first}, at::embedding(rows, part)});
        if (positions.defined()) chunks_.back().hidden.add_(positions);
      }
    }
  }

  at::Tensor load_rows(const std::string& name, const at::Tensor& rows) const {
    const std::string& stored = model_.weights().find(name)->stored.front();
    at::Tensor loaded = model_.checkpoint().load_rows(stored, rows, options_.dtype);
    model_.checkpoint().release(stored);
    return loaded;
  }

  void run_one_layer(int64_t layer, bool has_next) {
    const LayerWeights weights =
        loading_.time([&] { return load_layer(model_, layer, options_.dtype, options_.device); });
    if (has_next) prefetch_layer(model_, layer + 1);
    show_weights(layer, projections(weights, config_));
    LayerExperts experts(
        model_, layer, options_.dtype, options_.device, loading_,
        [&](int64_t expert, const Mlp& mlp) { show_weights(layer, projections(mlp, expert)); });

    std::vector<Tap> taps;
    for (size_t b = 0; b < batches_.size(); ++b) taps.emplace_back(observers_, layer, b, observing_);
    for (Chunk& chunk : chunks_) {
      check_interrupt();
      const int rotary = config_.rotary_of_layer[static_cast<size_t>(layer)];
      const ops::RotaryTable& table = rotary_table(rotary, chunk.hidden.size(1));
      chunk.hidden = run_layer(config_, layer, weights, experts, table, std::move(chunk.hidden), chunk.slice,
                               taps[chunk.slice.batch], [&] {
                                 if (times_.first_product_seconds == 0) {
                                   times_.first_product_seconds = process_age_seconds();
                                 }
                               });
    }
    observing_.time([&] {
      for (Observer* observer : observers_) observer->on_layer_end(layer);
    });
  }

  void show_weights(int64_t layer, const std::vector<LayerWeight>& weights) {
    observing_.time([&] {
      for (Observer* observer : observers_) {
        if (!observer->wants_weights(layer)) continue;
        for (const LayerWeight& weight : weights) observer->on_weight(layer, weight);
      }
    });
  }

  /// Undefined tables for index -1: no rotary.
  const ops::RotaryTable& rotary_table(int index, int64_t tokens) {
    const auto [it, inserted] = rotaries_.try_emplace({index, tokens});
    if (!inserted || index < 0) return it->second;
    const Rotary& rotary = config_.rotaries[static_cast<size_t>(index)];
    if (rotary.width > 0) {
      const ops::RotaryTable table =
          ops::rotary_table(rotary_frequencies(rotary, tokens), tokens, rotary.attention_factor);
      it->second = {table.cos.to(options_.device), table.sin.to(options_.device)};
    }
    return it->second;
  }

  void finish() {
    const Norm norm = load_norm(model_, "final_norm", options_.dtype, options_.device);
    if (model_.has("head_projection.weight")) head_projection_ = load("head_projection.weight");
    if (config_.head_bias) head_bias_ = load("head.bias");
    for (size_t b = 0; b < batches_.size(); ++b) {
      const Tap tap(observers_, -1, b, observing_);
      for (Chunk& chunk : chunks_) {
        if (chunk.slice.batch != b) continue;
        check_interrupt();
        const at::Tensor x = config_.final_norm ? normalise(config_, norm, chunk.hidden) : chunk.hidden;
        chunk.hidden = at::Tensor();
        tap.show(Point::final_norm_out, chunk.slice, x);
        if (!reads_images(config_) && tap.wants(Point::logits)) show_logits(tap, chunk.slice, x);
      }
    }
  }

  /// x [b,T,D]. The output matrix is read in blocks of rows: whole, it is often the largest tensor of the
  /// run.
  void show_logits(const Tap& tap, const Slice& slice, const at::Tensor& x) {
    const int64_t B = x.size(0), T = x.size(1), V = config_.vocabulary;
    const std::string& stored = model_.head().stored.front();
    const int64_t step = std::clamp<int64_t>(kLogitElements / (T * V), 1, B);
    for (int64_t first = 0; first < B; first += step) {
      const int64_t b = std::min(step, B - first);
      at::Tensor rows = x.narrow(0, first, b).reshape({b * T, -1});
      if (head_projection_.defined()) rows = at::linear(rows, head_projection_);
      at::Tensor logits = at::empty({b * T, V}, x.options());
      for (int64_t begin = 0; begin < V; begin += kVocabularyRows) {
        check_interrupt();
        const int64_t end = std::min(begin + kVocabularyRows, V);
        const at::Tensor head = loading_.time([&] {
          return model_.checkpoint().load_row_range(stored, begin, end, options_.dtype).to(options_.device);
        });
        at::Tensor part = logits.narrow(1, begin, end - begin);
        at::mm_out(part, rows, head.t());
        if (head_bias_.defined()) part.add_(head_bias_.narrow(0, begin, end - begin));
      }
      if (config_.logit_softcap > 0) {
        logits.div_(config_.logit_softcap).tanh_().mul_(config_.logit_softcap);
      }
      tap.show(Point::logits, {slice.batch, slice.first_sequence + first}, logits.view({b, T, V}));
    }
  }

  const Model& model_;
  const Config& config_;
  const std::vector<Batch>& batches_;
  const std::vector<Observer*>& observers_;
  const RunOptions& options_;
  std::vector<Chunk> chunks_;
  at::Tensor head_projection_, head_bias_;
  std::map<std::pair<int, int64_t>, ops::RotaryTable> rotaries_;
  Stopwatch loading_, observing_;
  RunTimes times_;
};

}  // namespace

RunTimes run(const Model& model, const std::vector<Batch>& batches, const std::vector<Observer*>& observers,
             const RunOptions& options) {
  return Run(model, batches, observers, options)();
}

}  // namespace outliers::models
