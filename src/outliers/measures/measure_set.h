// The one observer of a survey: it shows each measure what it wants, brings the ranks' parts together at the
// end of a layer, and has the measures write their results in the order of the table.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "outliers/measures/measure.h"

namespace outliers::measures {

class MeasureSet : public run::Observer {
 public:
  /// What `context` refers to outlives the set. The run's inputs are the context's, of corpora with ranks
  /// this rank's part.
  MeasureSet(Context context, const std::vector<const MeasureInfo*>& chosen);
  /// One of each input, as `make` gives it.
  using Make = std::function<std::unique_ptr<Measure>(const Context& context, size_t input)>;
  MeasureSet(Context context, const Make& make);

  bool wants(const run::Site& site, size_t input) const override;
  bool wants_attention_sums(int64_t layer, size_t input) const override;
  bool wants_weights(int64_t layer) const override;
  void on_point(const run::Site& site, const run::Slice& slice, const at::Tensor& x) override;
  void on_attention_sums(int64_t layer, const run::Slice& slice, const ops::AttentionSums& sums) override;
  void on_weight(int64_t layer, const run::LayerWeight& weight) override;
  void on_layer_end(int64_t layer) override;
  run::ObserverMemory memory(const std::vector<run::Input>& inputs, at::ScalarType dtype,
                             int64_t chunk_tokens) const override;
  void spill_to(Spill& spill) override { context_.spill = &spill; }

  /// Whether the run is to compute the model's own points (run::RunOptions::logits).
  bool wants_own_points() const;
  /// All ranks, when the run is over: brings together what those points gave.
  void on_run_end();

  /// What was measured, of rank 0: the layers, and the arrays. The set has them no longer.
  std::vector<results::Layer> take_layers() { return std::move(layers_); }
  NamedArrays take_arrays() { return arrays_.take(); }
  /// Has the measures write what is of no layer.
  void finish(results::Results& results) const;

 private:
  static constexpr size_t kNone = SIZE_MAX;
  struct Member {
    std::unique_ptr<Measure> measure;
    size_t input;    // kNone: it is of the model
    bool of_prompt;  // rank 0's alone
  };
  bool is_here(const Member& member) const { return context_.is_root() || !member.of_prompt; }
  /// Calls action(measure, wants) for those of an input (kNone: for all) that have something to do here.
  template <typename Action>
  void each(int64_t layer, size_t input, const Action& action) const;
  int64_t number_of(const run::Slice& slice) const {
    return context_.inputs[slice.input].first_sequence + slice.first_sequence;
  }
  bool wants_own_points(const Member& member) const;
  /// Brings the ranks' parts of these members together.
  template <typename Chosen>
  void merge(const Chosen& chosen);
  void look_again();

  Context context_;
  std::vector<Member> members_;
  std::vector<results::Layer> layers_;
  Arrays arrays_;
};

}  // namespace outliers::measures
