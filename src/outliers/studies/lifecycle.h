// The life cycle of the prompts' outliers (arXiv 2502.06415, section 4): what writes them, part by part, what
// they do to attention, and what takes them away. A run of its own after the survey, over the prompts and
// some windows of the corpora, that knows from the survey where to look.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "outliers/measures/arrays.h"
#include "outliers/models/model.h"
#include "outliers/results/results.h"
#include "outliers/run/observer.h"
#include "outliers/run/options.h"
#include "outliers/studies/lifecycle_choice.h"
#include "outliers/studies/subjects.h"

namespace outliers::studies {

/// Keeps what the prompts' first tokens have in the residual stream, so that any place can be followed.
class ResidualTrace : public run::Observer {
 public:
  /// `prompts`: numbers of inputs of one sequence.
  ResidualTrace(const models::Config& config, std::vector<size_t> prompts);

  bool wants(const run::Site& site, size_t input) const override;
  void on_point(const run::Site& site, const run::Slice& slice, const at::Tensor& x) override;
  run::ObserverMemory memory(const std::vector<run::Input>& inputs, at::ScalarType dtype,
                             int64_t chunk_tokens) const override;

  /// [L+1,K,D] float32 on the CPU: what layer 0 reads, then each resid_out.
  at::Tensor of(size_t input) const;

 private:
  int64_t kept(int64_t tokens) const;

  const models::Config& config_;
  std::map<size_t, std::vector<at::Tensor>> rows_;
};

/// Throws ErrorKind::argument for a choice that the model does not have.
void check_choice(const models::Config& config, const LifecycleChoice& choice);

/// Adds to `times`, and results.lifecycle and its arrays to a survey of the same subjects, in whose layers
/// activations and attention were measured. Throws ErrorKind::argument for a layer of which cannot be told.
void add_lifecycle(const models::Model& model, const Subjects& subjects, const ResidualTrace& trace,
                   const LifecycleChoice& choice, const run::RunOptions& options, run::RunTimes& times,
                   results::Results& results, measures::NamedArrays& arrays);

}  // namespace outliers::studies
