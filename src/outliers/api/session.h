// What all work is done with: the device, the dtype, the threads, and how much memory it may take. A session
// owns the process's settings for them while it lives.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/api/model.h"
#include "outliers/api/report.h"
#include "outliers/api/rules.h"
#include "outliers/core/exception.h"
#include "outliers/core/export.h"
#include "outliers/core/progress.h"
#include "outliers/core/ranks.h"
#include "outliers/eval/window_options.h"
#include "outliers/run/observer.h"
#include "outliers/run/options.h"
#include "outliers/studies/lifecycle_choice.h"

namespace outliers {

namespace eval {
struct EvaluationOptions;
}

struct SessionOptions {
  std::string device = "cpu";           ///< cpu, cuda or cuda:N
  std::optional<at::ScalarType> dtype;  ///< nothing: float32 on the CPU, what the checkpoint stores elsewhere
  int threads = 0;                      ///< of the CPU; 0: as many as LibTorch has
  uint64_t memory_limit = 0;            ///< resident bytes that the process may take; 0: any number
  std::filesystem::path spill_directory;  ///< for what does not fit; empty: the system's temporary one
  bool tf32 = false;                      ///< lets a GPU round the factors of float32 products
  ProgressHandler progress;               ///< who is told how far the work is
  /// Takes each warning, which is one line; nothing: they go to standard error.
  std::function<void(const std::string&)> warning;
  /// Of run_ranks(): the processes that share a survey's sequences. `cuda` is then each one's own device, and
  /// where there is no `warning`, rank 0 alone tells.
  Ranks* ranks = nullptr;
};

/// What to run beside device, dtype and memory.
struct ForwardOptions {
  int64_t chunk_tokens = 2048;  ///< computed at a time within a layer, in whole sequences
  bool logits = false;          ///< compute final_norm_out and, where an observer wants them, logits
  int64_t layers = -1;          ///< stop after so many; -1: all
};

struct SurveyOptions {
  std::vector<std::string> prompts;            ///< looked at token by token; none: that of arXiv 2502.06415
  std::vector<std::filesystem::path> corpora;  ///< measured on; none: the one that comes along
  std::string text_field;                      ///< as in WindowOptions, like the next four
  /// Windows of each corpus, or images at most; nothing: kDefaultSequences, kDefaultImages.
  std::optional<int64_t> sequences;
  int64_t tokens = 0;  ///< 0: 1024, or the model's positions where they are fewer
  text::BosPolicy bos = text::BosPolicy::model;
  uint64_t seed = 0;                  ///< results::kLargestSeed at most
  std::vector<std::string> measures;  ///< names of list_measures(), or "all"; none: all but on_request
  /// A key is a sink where its mean probability over the first sink_queries queries is above sink_epsilon
  /// (Gu et al., arXiv 2410.10781).
  double sink_epsilon = Criteria{}.sink_epsilon;
  int64_t sink_queries = Criteria{}.sink_queries;
  /// Follows the prompts' outliers in a second run (docs/lifecycle.md), where activations and attention are
  /// measured.
  bool lifecycle = true;
  studies::LifecycleChoice look_at;  ///< of the life cycle
  Rules rules;                       ///< of results.findings
  /// Of models of images, in place of all these: the first is looked at token by token, all are measured on.
  std::vector<std::filesystem::path> images;
};
inline constexpr int64_t kDefaultImages = 64;

/// What there is to measure (docs/measures.md).
struct MeasureDescription {
  std::string name, description;
  std::vector<std::string> needs;  ///< names of those that are taken along
  std::string on_request;          ///< of one that is made only where it is named: what it takes
};
OUTLIERS_API std::vector<MeasureDescription> list_measures();

struct InterventionOptions {
  eval::WindowOptions windows;
  std::vector<std::string> edits;  ///< each is a run: "layer.3.resid_out[massive]=zero" (docs/edits.md)
  int64_t controls = 0;            ///< of each, runs that change as many values at random, elsewhere
};

struct CaptureOptions {
  bool replace = false;  ///< a file that is there
  bool float32 = false;  ///< write floats as float32, whatever the run's dtype
};

/// Tensors by the names of their points, in the order of computation; on the CPU.
using Captured = std::vector<std::pair<std::string, at::Tensor>>;

/// One at a time in a process; errors are Error (core/exception.h).
class OUTLIERS_API Session {
 public:
  /// Throws for a device that is not there, and where there is a session already.
  explicit Session(const SessionOptions& options = {});
  /// Gives back the settings that were before.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  at::Device device() const;
  /// Whether this process gets the results and writes them: the only one, or rank 0.
  bool is_root() const;
  /// What `checkpoint` is computed in.
  at::ScalarType dtype(const io::Checkpoint& checkpoint) const;

  /// All inputs pass the model layer by layer, and the observers are shown what they want of it. What their
  /// edits ask of the tokens' classes is filled in.
  run::RunTimes forward(const Model& model, const std::vector<run::Input>& inputs,
                        const std::vector<run::Observer*>& observers,
                        const ForwardOptions& options = {}) const;
  /// Where the model's systematic outliers are. Empty in the processes that are not is_root(). Throws
  /// ErrorKind::argument for what does not fit the model, usage for unknown measures, memory for a limit that
  /// is too small, and what reading throws.
  Survey survey(const Model& model, const SurveyOptions& options = {}) const;
  /// How well the model predicts a text (docs/perplexity.md); `windows.ranks` is the session's. Empty in the
  /// processes that are not is_root(). Throws ErrorKind::argument for what does not fit the model, too short
  /// a text, and logits that are not finite, memory as survey(), and what reading throws.
  results::Perplexity perplexity(const Model& model, const eval::WindowOptions& windows = {}) const;
  /// What edits do to the predictions, all in one pass (docs/interventions.md). Empty in the processes that
  /// are not is_root(). Throws what perplexity() does, usage for edits that cannot be read, and argument for
  /// one that changes nothing.
  results::Interventions intervene(const Model& model, const InterventionOptions& options) const;
  /// The activations at `points` ("layer.*.resid_out,layer.3.down_in,logits"; run::parse_sites), edited as
  /// the input says.
  Captured capture(const Model& model, const run::Input& input, const std::string& points) const;
  /// The same into an .npz or .safetensors file, by its ending, with one layer in memory. Returns the points.
  std::vector<run::Site> capture(const Model& model, const run::Input& input, const std::string& points,
                                 const std::filesystem::path& file, const CaptureOptions& options = {}) const;

 private:
  run::RunOptions run_options(const Model& model) const;
  eval::EvaluationOptions evaluation(const Model& model, const eval::WindowOptions& windows) const;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outliers
