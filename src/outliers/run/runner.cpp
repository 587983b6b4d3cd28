#include "outliers/run/runner.h"

#include <algorithm>
#include <future>
#include <map>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "outliers/core/interrupt.h"
#include "outliers/core/memory.h"
#include "outliers/core/shape.h"
#include "outliers/core/spill.h"
#include "outliers/io/mapped_file.h"
#include "outliers/models/rotary.h"
#include "outliers/run/block.h"
#include "outliers/run/branches.h"
#include "outliers/run/chunk.h"
#include "outliers/run/edited_weights.h"
#include "outliers/run/error.h"
#include "outliers/run/head.h"
#include "outliers/run/image_embedding.h"
#include "outliers/run/layer_weights.h"
#include "outliers/run/logit_blocks.h"
#include "outliers/run/memory_plan.h"
#include "outliers/run/process_age.h"
#include "outliers/run/tap.h"

namespace outliers::run {

namespace {

class Run {
 public:
  Run(const models::Model& model, const std::vector<Input>& inputs, const std::vector<Observer*>& observers,
      const RunOptions& options)
      : model_(model),
        config_(model.config()),
        branches_(inputs, model.config()),
        inputs_(branches_.inputs()),
        observers_(observers),
        options_(options) {
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
    require(options_.logit_blocks == nullptr || (options_.logits && has_head(config_)),
            "there are no logits to show by blocks");
    for (const Input& input : inputs_) {
      if (input.parent) continue;
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
    return loading_.time([&] { return load_once(model_, name, options_.dtype, options_.device); });
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
      if (plan_.kept_on_disk > 0) kept_spill_ = new_spill(plan_.kept_on_disk);
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
    chunks_.push_back({slice, hidden.size(0), hidden.size(1)});
    if (spill_ != nullptr) {
      chunks_.back().record = spill_->add(hidden);
    } else {
      chunks_.back().hidden = std::move(hidden);
    }
  }

  /// Those of a branch are its parent's; they have no hidden states of their own before it forks.
  void add_branch(size_t branch) {
    for (const size_t i : chunks_of(*inputs_[branch].parent)) {
      const Chunk& chunk = chunks_[i];
      chunks_.push_back({{branch, chunk.slice.first_sequence}, chunk.sequences, chunk.tokens});
    }
  }

  std::vector<size_t> chunks_of(size_t input) const { return run::chunks_of(chunks_, input); }

  /// Tokens of images; the weights are read once where the images have one size.
  void embed_images() {
    std::map<std::pair<int64_t, int64_t>, ImageEmbedding> embeddings;  // by grid
    for (size_t b = 0; b < inputs_.size(); ++b) {
      if (inputs_[b].parent) {
        add_branch(b);
        continue;
      }
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
      if (input.parent) continue;
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
      if (inputs_[b].parent) {
        add_branch(b);
        continue;
      }
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

  /// The hidden states of a chunk, which stay.
  at::Tensor look(size_t chunk) const {
    const Chunk& c = chunks_[chunk];
    return c.record ? spill_->get(*c.record).to(options_.device) : c.hidden;
  }

  /// The hidden states of a chunk, which has none after that; has the next chunk's read meanwhile.
  at::Tensor take(size_t chunk) {
    if (spill_ == nullptr) return std::move(chunks_[chunk].hidden);
    if (chunk + 1 < chunks_.size() && chunks_[chunk + 1].record) spill_->expect(*chunks_[chunk + 1].record);
    return look(chunk);
  }

  void put(size_t chunk, at::Tensor hidden) {
    if (spill_ == nullptr) {
      chunks_[chunk].hidden = std::move(hidden);
    } else {
      spill_->replace(*chunks_[chunk].record, hidden);
    }
  }

  /// Gives the branches that part from an input its hidden states: the same tensors, which nobody writes into
  /// from now on, or copies on disk.
  void fork(size_t input, int64_t layer) {
    const std::vector<size_t> own = chunks_of(input);
    for (const size_t branch : branches_.forking(input, layer)) {
      const std::vector<size_t> theirs = chunks_of(branch);
      for (size_t i = 0; i < own.size(); ++i) {
        Chunk& chunk = chunks_[theirs[i]];
        if (spill_ == nullptr) {
          chunk.hidden = chunks_[own[i]].hidden;
        } else {
          chunk.record = spill_->add(look(own[i]));
        }
      }
    }
  }

  /// All inputs through one layer or, as layer -1, the model's own points. An input passes before its
  /// branches, whose edits take from its tensors what they need of it. compute(chunk, keeps, tap, input)
  /// computes a chunk, whose hidden states stay as they are where `keeps`.
  template <typename Compute>
  void for_inputs(int64_t layer, const Compute& compute) {
    const int64_t now = layer < 0 ? config_.layers : layer;
    std::vector<LayerEdits> edits;
    for (size_t b = 0; b < inputs_.size(); ++b) edits.push_back(branches_.point_edits(b, layer));
    for (size_t b = 0; b < inputs_.size(); ++b) {
      if (branches_.fork(b) > now) continue;
      fork(b, now);
      const std::vector<size_t> chunks = chunks_of(b);
      const auto keep = [&](Point point) {
        return std::make_shared<SiteTensors>(Site{layer, point}, b, kept_spill_);
      };
      Tap tap = branches_.tap(observers_, layer, b, observing_);
      tap.edit(&edits[b]);
      tap.measure_sinks_over(options_.sink_queries);
      if (!inputs_[b].edits.empty()) {
        if (!inputs_[b].parent) take_from_itself(layer, b, edits[b], compute, keep);
        for (const size_t i : chunks) compute(i, false, tap, b);
        continue;
      }
      std::map<Point, std::shared_ptr<SiteTensors>> kept;
      for (const Point point : branches_.kept_points(b, layer)) {
        tap.add(*kept.emplace(point, keep(point)).first->second, b);
      }
      for (const size_t i : chunks) compute(i, false, tap, b);
      for (size_t branch = b + 1; branch < inputs_.size(); ++branch) {
        if (inputs_[branch].parent != b) continue;
        for (auto& [point, site] : edits[branch]) {
          if (site.needs_statistics()) site.take(kept.at(point), options_.ranks, options_.device);
        }
      }
    }
    if (kept_spill_ != nullptr) kept_spill_->clear();
  }

  /// An edited input without a parent has no unedited pass to look at: up to each point whose edits need it
  /// whole, a pass is made that has the edits before it.
  template <typename Compute, typename Keep>
  void take_from_itself(int64_t layer, size_t input, LayerEdits& all, const Compute& compute,
                        const Keep& keep) {
    LayerEdits before;
    for (auto& [point, site] : all) {
      if (site.needs_statistics()) {
        const std::shared_ptr<SiteTensors> kept = keep(point);
        Tap tap(layer, observing_);
        tap.add(*kept, input);
        tap.edit(&before);
        for (const size_t i : chunks_of(input)) compute(i, true, tap, input);
        site.take(kept, options_.ranks, options_.device);
      }
      before.emplace(point, site);
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

    std::optional<EditedLayer> edited;
    for_inputs(layer, [&](size_t i, bool keeps, const Tap& tap, size_t input) {
      check_interrupt();
      if (!edited || edited->input() != input) {
        edited.reset();  // no two at a time
        edited.emplace(input, config_, weights, experts, branches_.weight_edits(input, layer));
      }
      const Chunk& chunk = chunks_[i];
      const int rotary = config_.rotary_of_layer[static_cast<size_t>(layer)];
      const ops::RotaryTable& table = rotary_table(rotary, chunk.tokens);
      at::Tensor hidden = run_layer(config_, layer, edited->weights(), edited->experts(), table,
                                    keeps ? look(i) : take(i), chunk.slice, tap, [&] {
                                      if (times_.first_product_seconds == 0) {
                                        times_.first_product_seconds = process_age_seconds();
                                      }
                                    });
      if (!keeps) put(i, std::move(hidden));
    });
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

  void finish() {
    Head head(model_, options_.dtype, options_.device, loading_);
    int64_t groups = 0;
    for (size_t b = 0; b < inputs_.size(); ++b) {
      if (branches_.fork(b) > config_.layers) continue;
      if (!head.shows_logits(branches_.tap(observers_, -1, b, observing_))) continue;
      for (const size_t i : chunks_of(b)) {
        const int64_t group = logit_group(config_, chunks_[i].tokens);
        groups += (chunks_[i].sequences + group - 1) / group;
      }
    }
    head.keep(groups > 1 && plan_.keeps_head);
    LogitBlocks* reader = options_.logit_blocks;
    for_inputs(-1, [&](size_t i, bool keeps, const Tap& tap, size_t) {
      check_interrupt();
      at::Tensor x = head(keeps ? look(i) : take(i), chunks_[i].slice, tap);
      if (!keeps && reader != nullptr) put(i, std::move(x));
    });
    if (reader != nullptr) {
      show_logit_blocks(
          head, config_, logit_groups(*reader, chunks_, branches_), [&](size_t i) { return look(i); },
          *reader);
    }
  }

  const models::Model& model_;
  const models::Config& config_;
  const Branches branches_;
  const std::vector<Input>& inputs_;
  const std::vector<Observer*>& observers_;
  const RunOptions& options_;
  MemoryPlan plan_;
  std::vector<std::unique_ptr<Spill>> spills_;
  Spill* spill_ = nullptr;       // of hidden states, by number of the chunk; none where they are in memory
  Spill* kept_spill_ = nullptr;  // of what edits need whole, of one layer
  std::vector<Chunk> chunks_;    // by input, in the order of sequences
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
