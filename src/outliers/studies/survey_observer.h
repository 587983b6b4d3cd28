// Measures a run layer by layer, and keeps of each layer its numbers and the prompt's few tensors.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "outliers/core/ranks.h"
#include "outliers/core/spill.h"
#include "outliers/models/config.h"
#include "outliers/run/runner.h"
#include "outliers/stats/activations.h"
#include "outliers/stats/attention.h"
#include "outliers/studies/norms.h"
#include "outliers/studies/token_names.h"

namespace outliers::studies {

/// Tokens of the prompt whose activations arrays.npz keeps.
inline constexpr int64_t kKeptTokens = 64;

class SurveyObserver : public run::Observer {
 public:
  /// The batches are the prompt (one sequence) and the corpus. All references outlive the observer. With
  /// ranks, each runs the prompt and its part of the corpus, and rank 0 alone has results and arrays.
  SurveyObserver(const models::Config& config, const TokenNames& names,
                 const std::vector<run::Input>& batches, Ranks* ranks = nullptr);

  bool wants(const run::Site& site, size_t batch) const override;
  bool wants_attention_sums(int64_t, size_t batch) const override { return measures(batch); }
  bool wants_weights(int64_t layer) const override {
    // Each rank sees the experts that its own sequences chose.
    return is_root() || models::is_routed(config_, layer);
  }
  void on_point(const run::Site& site, const run::Slice& slice, const at::Tensor& x) override;
  void on_attention_sums(int64_t layer, const run::Slice& slice, const ops::AttentionSums& sums) override;
  void on_weight(int64_t layer, const run::LayerWeight& weight) override;
  void on_layer_end(int64_t layer) override;
  /// The tensors kept for a second look are spillable.
  run::ObserverMemory memory(const std::vector<run::Input>& batches, at::ScalarType dtype,
                             int64_t chunk_tokens) const override;
  void spill_to(Spill& spill) override { spill_ = &spill; }

  /// results.json's prompt.embedding, activations, weights, attention, writes and, of images, norms.
  nlohmann::ordered_json results() const;
  /// The content of arrays.npz, in the order of docs/results.md.
  std::vector<std::pair<std::string, at::Tensor>> arrays() const;
  /// Share of outlier keys whose token was an outlier token of the layer before; nothing without such keys.
  std::optional<double> activation_attention() const;

 private:
  static constexpr size_t kBatches = 2;
  static constexpr size_t kPrompt = 0, kCorpus = 1;
  static constexpr std::array kMeasured = {run::Point::resid_out, run::Point::down_in};

  /// A tensor of this layer, in memory or on disk.
  struct Shown {
    at::Tensor x;  // undefined on disk
    const Spill* spill;
    size_t number;  // there
    int64_t first_sequence;
    at::Tensor get() const { return x.defined() ? x : spill->get(number); }
  };
  /// One point of one batch.
  struct Measured {
    stats::ActivationAccumulator accumulator;
    /// float32 tensors of this layer, in case the median needs a second look.
    std::vector<Shown> shown;
    // By layer:
    nlohmann::ordered_json layers = nlohmann::ordered_json::array();
    std::vector<at::Tensor> channel_max, token_max;

    /// `spill`: where to keep x, nullptr for memory.
    void add(const at::Tensor& x, int64_t first_sequence, Spill* spill = nullptr);
    /// Takes in what the other ranks have; on those, nothing is left.
    void merge(Ranks& ranks);
    stats::ActivationSummary finish(int64_t layer);
  };
  struct Attended {
    stats::AttentionAccumulator accumulator;
    std::vector<at::Tensor> parts;  // of this layer's scores, [b,T]
    nlohmann::ordered_json layers = nlohmann::ordered_json::array();
    std::vector<at::Tensor> key_scores;  // by layer, [N,T]

    void merge(Ranks& ranks);
  };
  struct Place {
    int64_t token, channel;
  };
  /// What passed the experts of this layer, of one batch. down_in is measured with the experts of a token
  /// side by side, [b,T,k*Fe] and the shared one's Fs behind them.
  struct Routed {
    std::vector<at::Tensor> index;  // experts of the tokens, [b,T,k], in order, on the host
    at::Tensor waiting;             // experts' down_in, [b,T,k,Fe], until the shared one's is there
    at::Tensor down_in_max;         // [E,Fe]: largest abs by expert and neuron
    at::Tensor down_out_max;        // [E]: largest abs
    at::Tensor counts(int64_t experts) const;  // [E]: tokens that passed each
    void merge(Ranks& ranks);
  };
  /// The statistics of one matrix, as results.json has them; of a down projection the columns to keep.
  struct Weighed {
    int64_t expert;
    std::string module;
    nlohmann::ordered_json listed;
    at::Tensor columns, column_index;
  };
  /// What writes to the residual stream at a token: one MLP's input, and how much its output counts.
  struct Source {
    int64_t expert;
    double weight;
    at::Tensor down_in;  // [F]
  };

  /// The prompt is rank 0's alone.
  bool measures(size_t batch) const { return batch == kCorpus || is_root(); }
  bool is_root() const { return ranks_ == nullptr || ranks_->is_root(); }
  /// The number in the whole batch of a slice's first sequence.
  int64_t number_of(const run::Slice& slice) const;
  Measured& measured(size_t batch, size_t point) { return measured_[batch * kMeasured.size() + point]; }
  void take(Weighed weighed);
  void merge_experts();
  void add_routed(const run::Site& site, const run::Slice& slice, const at::Tensor& x);
  void name_experts(size_t batch, const stats::ActivationSummary& summary, nlohmann::ordered_json& listed);
  nlohmann::ordered_json expert_statistics();
  std::vector<Source> sources(int64_t token) const;
  nlohmann::ordered_json write_at(Place place) const;
  void count_alignment(const stats::AttentionSummary& attention, const stats::ActivationSummary& output);
  void keep_prompt();

  const models::Config& config_;
  const TokenNames& names_;
  const std::vector<run::Input>& batches_;
  Ranks* ranks_;
  Spill* spill_ = nullptr;
  bool maps_;  // attention maps of the prompt are small enough to keep

  std::array<Measured, kBatches * kMeasured.size()> measured_;
  std::array<Attended, kBatches> attended_;
  std::array<Routed, kBatches> routed_;
  std::vector<TokenNorms> norms_;  // of each batch, where it is of images
  nlohmann::ordered_json embedding_;
  nlohmann::ordered_json modules_ = nlohmann::ordered_json::object(),
                         weights_ = nlohmann::ordered_json::array();
  nlohmann::ordered_json writes_ = nlohmann::ordered_json::array();

  // Of this layer's prompt: [1,P,D] or [1,P,F]; of its experts [1,P,k], [1,P,k,Fe], [1,P,1] and [1,P,Fs].
  at::Tensor resid_in_, resid_mid_, resid_out_, down_in_;
  at::Tensor expert_weight_, expert_down_in_, shared_weight_, shared_down_in_;
  // Of this layer:
  std::map<int64_t, at::Tensor> downs_;                // down projections, [D,F], by expert
  std::map<int64_t, nlohmann::ordered_json> experts_;  // weight statistics of the experts
  std::vector<Weighed> weighed_;                       // on other ranks than the first, for it
  nlohmann::ordered_json router_;
  at::Tensor down_columns_, down_column_index_;
  std::optional<Place> largest_;  // of the layer before
  at::Tensor outlier_tokens_;     // of the layer before, over the corpus: bool [N,T]
  int64_t outlier_keys_ = 0, keys_at_outlier_tokens_ = 0;

  // By layer.
  std::vector<at::Tensor> prompt_resid_out_, prompt_down_in_, probs_, probs_mean_, columns_, column_index_;
};

}  // namespace outliers::studies
