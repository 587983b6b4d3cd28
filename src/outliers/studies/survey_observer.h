// Measures a run layer by layer, and keeps of each layer its numbers and the prompt's few tensors.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "outliers/core/ranks.h"
#include "outliers/models/config.h"
#include "outliers/models/runner.h"
#include "outliers/stats/activations.h"
#include "outliers/stats/attention.h"
#include "outliers/text/tokenizer.h"

namespace outliers::studies {

/// Tokens of the prompt whose activations arrays.npz keeps.
inline constexpr int64_t kKeptTokens = 64;

class SurveyObserver : public models::Observer {
 public:
  /// The batches are the prompt (one sequence) and the corpus. All references outlive the observer. With
  /// ranks, each runs the prompt and its part of the corpus, and rank 0 alone has results and arrays.
  SurveyObserver(const models::Config& config, const text::Tokenizer& tokenizer,
                 const std::vector<models::Batch>& batches, Ranks* ranks = nullptr);

  bool wants(const models::Site& site, size_t batch) const override;
  bool wants_attention_sums(int64_t, size_t batch) const override { return measures(batch); }
  bool wants_weights(int64_t) const override { return is_root(); }
  void on_point(const models::Site& site, const models::Slice& slice, const at::Tensor& x) override;
  void on_attention_sums(int64_t layer, const models::Slice& slice, const ops::AttentionSums& sums) override;
  void on_weight(int64_t layer, const models::LayerWeight& weight) override;
  void on_layer_end(int64_t layer) override;

  /// results.json's prompt.embedding, activations, weights, attention and writes.
  nlohmann::ordered_json results() const;
  /// The content of arrays.npz, in the order of docs/results.md.
  std::vector<std::pair<std::string, at::Tensor>> arrays() const;
  /// Share of outlier keys whose token was an outlier token of the layer before; nothing without such keys.
  std::optional<double> activation_attention() const;

 private:
  static constexpr size_t kBatches = 2;
  static constexpr size_t kPrompt = 0, kCorpus = 1;
  static constexpr std::array kMeasured = {models::Point::resid_out, models::Point::down_in};

  /// One point of one batch.
  struct Measured {
    stats::ActivationAccumulator accumulator;
    /// float32 tensors of this layer with their first sequences, in case the median needs a second look.
    std::vector<std::pair<at::Tensor, int64_t>> shown;
    // By layer:
    nlohmann::ordered_json layers = nlohmann::ordered_json::array();
    std::vector<at::Tensor> channel_max, token_max;

    void add(const at::Tensor& x, int64_t first_sequence);
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

  /// The prompt is rank 0's alone.
  bool measures(size_t batch) const { return batch == kCorpus || is_root(); }
  bool is_root() const { return ranks_ == nullptr || ranks_->is_root(); }
  /// The number in the whole batch of a slice's first sequence.
  int64_t number_of(const models::Slice& slice) const;
  Measured& measured(size_t batch, size_t point) { return measured_[batch * kMeasured.size() + point]; }
  nlohmann::ordered_json write_at(Place place) const;
  void count_alignment(const stats::AttentionSummary& attention, const stats::ActivationSummary& output);
  void keep_prompt();

  const models::Config& config_;
  const text::Tokenizer& tokenizer_;
  const std::vector<models::Batch>& batches_;
  Ranks* ranks_;
  bool maps_;  // attention maps of the prompt are small enough to keep

  std::array<Measured, kBatches * kMeasured.size()> measured_;
  std::array<Attended, kBatches> attended_;
  nlohmann::ordered_json embedding_;
  nlohmann::ordered_json modules_ = nlohmann::ordered_json::object(),
                         weights_ = nlohmann::ordered_json::array();
  nlohmann::ordered_json writes_ = nlohmann::ordered_json::array();

  // Of this layer's prompt: [1,P,D] or [1,P,F].
  at::Tensor resid_in_, resid_mid_, resid_out_, down_in_;
  at::Tensor down_;               // this layer's down projection, [D,F]
  std::optional<Place> largest_;  // of the layer before
  at::Tensor outlier_tokens_;     // of the layer before, over the corpus: bool [N,T]
  int64_t outlier_keys_ = 0, keys_at_outlier_tokens_ = 0;

  // By layer.
  std::vector<at::Tensor> prompt_resid_out_, prompt_down_in_, probs_, probs_mean_, columns_, column_index_;
};

}  // namespace outliers::studies
