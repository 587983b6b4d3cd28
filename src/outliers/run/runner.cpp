#include "outliers/run/runner.h"

#include <algorithm>
#include <future>
#include <map>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/memory.h"
#include "outliers/core/shape.h"
#include "outliers/core/spill.h"
#include "outliers/io/mapped_file.h"
#include "outliers/models/rotary.h"
#include "outliers/run/block.h"
#include "outliers/run/image_embedding.h"
#include "outliers/run/layer_weights.h"
#include "outliers/run/memory_plan.h"
#include "outliers/run/process_age.h"
#include "outliers/run/tap.h"

namespace outliers::run {

namespace {

/// Whole sequences that pass a layer together.
struct Chunk {
  Slice slice;
  int64_t sequences, tokens;
  at::Tensor hidden;  // [b,T,D]; undefined while it is on disk
};

class Run {
 public:
  Run(const models::Model& model, const std::vector<Input>& inputs, const std::vector<Observer*>& observers,
      const RunOptions& options)
      : model_(model), config_(model.config()), inputs_(inputs), observers_(observers), options_(options) {
    check();
  }

  RunTimes operator()() {
    const at::NoGradGuard no_grad;
    const double begin = process_age_seconds();
    const uint64_t read_before = model_.checkpoint().bytes_read();
    const int64_t layers = options_.layers < 0 ? config_.layers : options_.layers;
    const TensorMemoryBound bound(plan());
    prefetch_layer(model_, 0);
    embed();
    for (int64_t layer = 0; layer < layers; ++layer) run_one_layer(layer, layer + 1 < layers);
    if (options_.logits) finish();
    io::check_mapped_files();
    times_.weight_bytes_read = model_.checkpoint().bytes_read() - read_before;
    for (const std::unique_ptr<Spill>& spill : spills_) times_.spilled_bytes += spill->bytes_written();
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
    for (const Input& input : inputs_) {
      check_shape(input.ids, "run", "ids", {-1, -1});
      require(input.ids.scalar_type() == at::kLong && input.ids.is_cpu() && input.ids.numel() > 0,
              "run: the ids of input '{}' should be a non-empty int64 tensor on the CPU", input.name);
      if (reads_images(config_)) {
        check_images(input);
        continue;
      }
      const int64_t low = input.ids.min().item<int64_t>(), high = input.ids.max().item<int64_t>();
      require(low >= 0 && high < config_.vocabulary,
              "token id {} of input '{}' is outside the vocabulary of {}", low < 0 ? low : high, input.name,
              config_.vocabulary);
      require(config_.positions != models::Positions::learned || input.ids.size(1) <= config_.max_positions,
              "input '{}' has sequences of {} tokens, but the model has only learnt {} positions", input.name,
              input.ids.size(1), config_.max_positions);
    }
  }

  void check_images(const Input& input) const {
    require(input.pixels.defined(), "input '{}' has no images, but this model reads nothing else",
            input.name);
    check_shape(input.pixels, "run", "pixels", {input.ids.size(0), config_.vision.channels, -1, -1});
    const models::PatchGrid grid =
        patch_grid(config_, input.pixels.size(2), input.pixels.size(3), input.name);
    check_shape(input.ids, "run", "ids", {-1, image_tokens(config_, grid)});
  }

  at::Tensor load(const std::string& name) {
    return loading_.time([&] { return load_once(model_, name, options_.dtype).to(options_.device); });
  }

  /// Settles chunks and what goes to disk; returns the bound on tensors and kept memory, 0 for none.
  uint64_t plan() {
    // CUDA's context and cuBLAS live in the host's memory, too, from their first use on.
    if (options_.memory_limit > 0 && !options_.device.is_cpu()) {
      const at::Tensor x = at::ones({1, 1}, at::dtype(options_.dtype).device(options_.device));
      at::mm(x, x);
    }
    const uint64_t process = resident_bytes();
    plan_ = plan_memory(model_, inputs_, observers_, options_, process);
    if (plan_.spills) {
      spill_ = new_spill(plan_.hidden_on_disk);
      for (Observer* observer : observers_) {
        const uint64_t bytes = observer->memory(inputs_, options_.dtype, plan_.chunk_tokens).on_disk;
        if (bytes > 0) observer->spill_to(*new_spill(bytes));
      }
    }
    if (options_.memory_limit == 0) return 0;
    const uint64_t others = process + plan_.reserve + plan_.mapped;
    return options_.memory_limit > others ? options_.memory_limit - others : 1;
  }

  Spill* new_spill(uint64_t bytes) {
    const std::filesystem::path& asked = options_.spill_directory;
    spills_.push_back(
        std::make_unique<Spill>(asked.empty() ? std::filesystem::temp_directory_path() : asked, bytes));
    return spills_.back().get();
  }

  void add_chunk(const Slice& slice, at::Tensor hidden) {
    chunks_.push_back({slice, hidden.size(0), hidden.size(1), {}});
    if (spill_ != nullptr) {
      spill_->add(hidden);
    } else {
      chunks_.back().hidden = std::move(hidden);
    }
  }

  /// Tokens of images; the weights are read once where the images have one size.
  void embed_images() {
    std::map<std::pair<int64_t, int64_t>, ImageEmbedding> embeddings;  // by grid
    for (size_t b = 0; b < inputs_.size(); ++b) {
      const at::Tensor& pixels = inputs_[b].pixels;
      const models::PatchGrid grid = patch_grid(config_, pixels.size(2), pixels.size(3), inputs_[b].name);
      const ImageEmbedding& embedding = loading_.time([&]() -> const ImageEmbedding& {
        return embeddings
            .try_emplace({grid.rows, grid.columns}, model_, grid, options_.dtype, options_.device)
            .first->second;
      });
      const int64_t B = pixels.size(0), step = chunk_sequences(plan_.chunk_tokens, inputs_[b].ids.size(1));
      for (int64_t first = 0; first < B; first += step) {
        add_chunk({b, first}, embedding(pixels.narrow(0, first, std::min(step, B - first))));
      }
    }
  }

  /// Reads the rows of the embedding that occur, and splits the inputs into chunks.
  void embed() {
    if (reads_images(config_)) {
      embed_images();
      return;
    }
    const bool projects = config_.embedding_width != config_.width;
    const at::Tensor projection = projects ? load("embedding_projection.weight") : at::Tensor();
    std::vector<at::Tensor> all_ids;
    int64_t longest = 0;
    for (const Input& input : inputs_) {
      all_ids.push_back(input.ids.flatten());
      longest = std::max(longest, input.ids.size(1));
    }
    const auto [unique, index] = at::_unique(at::cat(all_ids), /*sorted=*/true, /*return_inverse=*/true);
    at::Tensor rows = loading_.time([&, unique_ids = unique] {
      at::Tensor loaded = load_rows("embedding.weight", unique_ids);
      if (config_.embedding_scale != 1.0) {
        loaded.mul_(at::scalar_tensor(config_.embedding_scale, loaded.options()));
      }
      return loaded.to(options_.device);
    });
    if (projects) rows = at::linear(rows, projection);
    at::Tensor positions;  // [longest,D]
    if (config_.positions == models::Positions::learned) {
      const at::Tensor taken = at::arange(longest, at::kLong) + config_.position_offset;
      positions = loading_.time([&] { return load_rows("positions.weight", taken).to(options_.device); });
    }
    int64_t place = 0;
    for (size_t b = 0; b < inputs_.size(); ++b) {
      const at::Tensor& ids = inputs_[b].ids;
      const at::Tensor where = index.narrow(0, place, ids.numel()).view(ids.sizes()).to(options_.device);
      place += ids.numel();
      const int64_t T = ids.size(1), step = chunk_sequences(plan_.chunk_tokens, T);
      for (int64_t first = 0; first < ids.size(0); first += step) {
        const at::Tensor part = where.narrow(0, first, std::min(step, ids.size(0) - first));
        at::Tensor hidden = at::embedding(rows, part);
        if (positions.defined()) hidden.add_(positions.narrow(0, 0, T));
        add_chunk({b, first}, std::move(hidden));
      }
    }
  }

  at::Tensor load_rows(const std::string& name, const at::Tensor& rows) const {
    const std::string& stored = model_.weights().find(name)->stored.front();
    at::Tensor loaded = model_.checkpoint().load_rows(stored, rows, options_.dtype);
    model_.checkpoint().release(stored);
    return loaded;
  }

  /// The hidden states of a chunk, which has none after that; has the next chunk's read meanwhile.
  at::Tensor take(size_t chunk) {
    if (spill_ == nullptr) return std::move(chunks_[chunk].hidden);
    if (chunk + 1 < chunks_.size()) spill_->expect(chunk + 1);
    return spill_->get(chunk).to(options_.device);
  }

  void put(size_t chunk, at::Tensor hidden) {
    if (spill_ == nullptr) {
      chunks_[chunk].hidden = std::move(hidden);
    } else {
      spill_->replace(chunk, hidden);
    }
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
    for (size_t b = 0; b < inputs_.size(); ++b) taps.emplace_back(observers_, layer, b, observing_);
    for (size_t i = 0; i < chunks_.size(); ++i) {
      check_interrupt();
      const Chunk& chunk = chunks_[i];
      const int rotary = config_.rotary_of_layer[static_cast<size_t>(layer)];
      const ops::RotaryTable& table = rotary_table(rotary, chunk.tokens);
      put(i, run_layer(config_, layer, weights, experts, table, take(i), chunk.slice, taps[chunk.slice.input],
                       [&] {
                         if (times_.first_product_seconds == 0) {
                           times_.first_product_seconds = process_age_seconds();
                         }
                       }));
    }
    io::check_mapped_files();
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
    const models::Rotary& rotary = config_.rotaries[static_cast<size_t>(index)];
    if (rotary.width > 0) {
      const ops::RotaryTable table =
          ops::rotary_table(rotary_frequencies(rotary, tokens), tokens, rotary.attention_factor);
      it->second = {table.cos.to(options_.device), table.sin.to(options_.device)};
    }
    return it->second;
  }

  bool shows_logits(const Tap& tap) const { return has_head(config_) && tap.wants(Point::logits); }

  void finish() {
    const Norm norm = load_norm(model_, "final_norm", options_.dtype, options_.device);
    if (model_.has("head_projection.weight")) head_projection_ = load("head_projection.weight");
    if (config_.head_bias && has_head(config_)) head_bias_ = load("head.bias");
    std::vector<Tap> taps;
    for (size_t b = 0; b < inputs_.size(); ++b) taps.emplace_back(observers_, -1, b, observing_);
    int64_t groups = 0;
    for (const Chunk& chunk : chunks_) {
      if (!shows_logits(taps[chunk.slice.input])) continue;
      const int64_t group = logit_group(config_, chunk.tokens);
      groups += (chunk.sequences + group - 1) / group;
    }
    keeps_head_ = groups > 1 && plan_.keeps_head;
    for (size_t i = 0; i < chunks_.size(); ++i) {
      check_interrupt();
      const Slice& slice = chunks_[i].slice;
      const Tap& tap = taps[slice.input];
      at::Tensor hidden = take(i);
      const at::Tensor x = config_.final_norm ? normalise(config_, norm, hidden) : hidden;
      hidden = at::Tensor();
      tap.show(Point::final_norm_out, slice, x);
      if (shows_logits(tap)) show_logits(tap, slice, x);
    }
  }

  /// Rows [begin, end) of the output matrix, on the device.
  at::Tensor head_rows(int64_t begin, int64_t end) {
    if (const auto known = head_.find(begin); known != head_.end()) return known->second;
    const std::string& stored = model_.head().stored.front();
    const at::Tensor rows = loading_.time([&] {
      return model_.checkpoint().load_row_range(stored, begin, end, options_.dtype).to(options_.device);
    });
    model_.checkpoint().release(stored);
    if (keeps_head_) head_.emplace(begin, rows);
    return rows;
  }

  /// x [b,T,D]. The output matrix is read in blocks of rows: whole, it is often the largest tensor of the
  /// run, and is kept only where other groups of sequences follow.
  void show_logits(const Tap& tap, const Slice& slice, const at::Tensor& x) {
    const int64_t B = x.size(0), T = x.size(1), V = config_.vocabulary;
    const int64_t step = logit_group(config_, T);
    for (int64_t first = 0; first < B; first += step) {
      const int64_t b = std::min(step, B - first);
      at::Tensor rows = x.narrow(0, first, b).reshape({b * T, -1});
      if (head_projection_.defined()) rows = at::linear(rows, head_projection_);
      at::Tensor logits = at::empty({b * T, V}, x.options());
      for (int64_t begin = 0; begin < V; begin += kVocabularyRows) {
        check_interrupt();
        const int64_t end = std::min(begin + kVocabularyRows, V);
        const at::Tensor head = head_rows(begin, end);
        at::Tensor part = logits.narrow(1, begin, end - begin);
        at::mm_out(part, rows, head.t());
        if (head_bias_.defined()) part.add_(head_bias_.narrow(0, begin, end - begin));
      }
      if (config_.logit_softcap > 0) {
        logits.div_(config_.logit_softcap).tanh_().mul_(config_.logit_softcap);
      }
      tap.show(Point::logits, {slice.input, slice.first_sequence + first}, logits.view({b, T, V}));
    }
  }

  const models::Model& model_;
  const models::Config& config_;
  const std::vector<Input>& inputs_;
  const std::vector<Observer*>& observers_;
  const RunOptions& options_;
  MemoryPlan plan_;
  std::vector<std::unique_ptr<Spill>> spills_;
  Spill* spill_ = nullptr;  // of hidden states, by number of the chunk; none where they are in memory
  std::vector<Chunk> chunks_;
  at::Tensor head_projection_, head_bias_;
  std::map<int64_t, at::Tensor> head_;  // blocks of the output matrix, by first row
  bool keeps_head_ = false;
  std::map<std::pair<int, int64_t>, ops::RotaryTable> rotaries_;
  Stopwatch loading_, observing_;
  RunTimes times_;
};

}  // namespace

RunTimes forward(const models::Model& model, const std::vector<Input>& inputs,
                 const std::vector<Observer*>& observers, const RunOptions& options) {
  return Run(model, inputs, observers, options)();
}

}  // namespace outliers::run
