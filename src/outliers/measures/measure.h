// What a survey measures. A measure is a file of table/ and a name in measure_table.cpp
// (docs/add-a-measure.md): what it wants to be shown of a layer, what it makes of it, and where in the
// results it writes that. MeasureSet (measure_set.h) is the observer that has them all.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/bytes.h"
#include "outliers/core/criteria.h"
#include "outliers/core/ranks.h"
#include "outliers/core/spill.h"
#include "outliers/measures/arrays.h"
#include "outliers/measures/token_names.h"
#include "outliers/models/config.h"
#include "outliers/results/results.h"
#include "outliers/run/observer.h"

namespace outliers::measures {

/// Sequences of one length that are measured together.
struct Input {
  std::string name;
  results::InputKind kind = results::InputKind::corpus;
  at::Tensor ids;              ///< int64 [N,T], CPU: those of all ranks
  int64_t first_sequence = 0;  ///< the number of this rank's first

  bool is_prompt() const { return kind == results::InputKind::prompt; }
};

/// What all measures of a run know of it.
struct Context {
  const models::Config& config;
  const TokenNames& names;
  std::vector<Input> inputs;
  Ranks* ranks = nullptr;  ///< each has a part of every corpus; the prompts are rank 0's alone
  Criteria criteria = {};
  Spill* spill = nullptr;  ///< where tensors wait for a second look; nullptr: in memory

  bool is_root() const { return ranks == nullptr || ranks->is_root(); }
};

class PointSet {
 public:
  constexpr PointSet(std::initializer_list<run::Point> points) {
    for (const run::Point point : points) add(point);
  }
  constexpr void add(run::Point point) { bits_ |= bit(point); }
  constexpr bool contains(run::Point point) const { return (bits_ & bit(point)) != 0; }

 private:
  static_assert(static_cast<int>(run::Point::logits) < 64);
  static constexpr uint64_t bit(run::Point point) { return uint64_t{1} << static_cast<int>(point); }
  uint64_t bits_ = 0;
};

/// What is to be shown of a layer; what nobody wants is not computed.
struct Wants {
  PointSet points = {};
  bool attention_sums = false, weights = false;
};

/// A measure's memory in bytes, each at its largest.
struct Memory {
  int64_t held = 0;                    ///< of a layer until it ends, or from layer to layer
  int64_t moment = 0;                  ///< beside that, while something is shown
  int64_t arrays = 0;                  ///< of all layers, for arrays.npz
  int64_t spillable = 0, on_disk = 0;  ///< as in run::ObserverMemory
};

/// What of its input passes a measure on this rank; nothing, of a measure that is of the model.
struct Load {
  at::ScalarType dtype;
  int64_t sequences = 0, tokens = 0;  ///< [B,T]
  int64_t chunk = 0;                  ///< tokens of a tensor that is shown
  int64_t all() const { return sequences * tokens; }
};

/// One measure, of one input (or of the model). Between a layer's first add() and forget_layer() it has that
/// layer's parts; what end_layer() writes is the results'.
class Measure {
 public:
  Measure(const Context& context, size_t input) : context_(context), input_(input) {}
  virtual ~Measure() = default;
  Measure(const Measure&) = delete;
  Measure& operator=(const Measure&) = delete;

  /// Of layer -1 count the model's own points: they come after the last layer, save() and merge() follow for
  /// those who want some, and finish() writes what they gave.
  virtual Wants wants(int64_t layer) const = 0;
  /// x: sequences [first_sequence, first_sequence + x.size(0)) of its input, of all ranks'. To be kept by
  /// reference, never written to.
  virtual void add(const run::Site& site, const at::Tensor& x, int64_t first_sequence) {
    (void)site, (void)x, (void)first_sequence;
  }
  virtual void add_attention_sums(const ops::AttentionSums& sums, int64_t first_sequence) {
    (void)sums, (void)first_sequence;
  }
  virtual void add_weight(int64_t layer, const run::LayerWeight& weight) { (void)layer, (void)weight; }

  // With ranks: at the end of a layer rank 0 merges what the others saved, in the order of ranks.
  virtual void save(ByteWriter& out) const { (void)out; }
  virtual void merge(ByteReader& in) { (void)in; }

  // A second look at the layer's tensors, where the first was not enough: rank 0 asks (nothing: ""), every
  // rank answers for the tensors that it kept, and rank 0 hears each answer.
  virtual std::string question() { return {}; }
  virtual std::string answer(const std::string& question) const {
    (void)question;
    return {};
  }
  virtual void hear(const std::string& answer) { (void)answer; }

  /// Rank 0: writes the layer. The measures before it in the table have.
  virtual void end_layer(results::Layer& layer, Arrays& arrays) = 0;
  virtual void forget_layer() {}
  /// Rank 0, after the last layer: what is of no layer. summary.first_nonfinite is set.
  virtual void finish(results::Results& results) const { (void)results; }

  virtual Memory memory(const Load& load) const {
    (void)load;
    return {};
  }

 protected:
  const Context& context() const { return context_; }
  const models::Config& config() const { return context_.config; }
  const Input& input() const { return context_.inputs[input_]; }
  size_t input_number() const { return input_; }
  /// Its input's part of a layer.
  results::LayerInput& part(results::Layer& layer) const { return layer.inputs[input().name]; }

 private:
  const Context& context_;
  size_t input_;
};

/// One number, or one a head, that a measure writes to LayerInput::values.
struct Value {
  const char* name;
  const char* shape;  ///< "[H]", or "[]"
  const char* title;  ///< what a chart calls it
  const char* definition;
  const char* source = "";  ///< "arXiv 2402.17762, section 3"
};

/// What a measure is made for: each input, each prompt, or once, with no input of its own.
enum class Of { inputs, prompts, model };

/// A row of the table.
struct MeasureInfo {
  const char* name;
  const char* description;  ///< one line
  const char* source = "";  ///< "arXiv 2402.17762, section 3"
  Of of = Of::inputs;
  std::vector<std::string> needs = {};  ///< measures whose results it reads; they stand before it
  std::vector<Value> values = {};
  /// Of one that is made only where it is named, or "all" is: what it takes. nullptr: made by default.
  const char* on_request = nullptr;
  bool (*applies)(const models::Config&) = nullptr;  ///< nullptr: to every model
  /// nullptr: it takes runs of its own, when the pass over the model is done (studies/survey.cpp).
  std::unique_ptr<Measure> (*make)(const Context& context, size_t input) = nullptr;

  bool applies_to(const models::Config& config) const { return applies == nullptr || applies(config); }
};

template <typename T>
std::unique_ptr<Measure> make(const Context& context, size_t input) {
  return std::make_unique<T>(context, input);
}

/// All measures, in the order in which they end a layer.
const std::vector<MeasureInfo>& measure_table();

/// The measures of these names and those that they need, in the table's order; all that apply to the model
/// where one is "all", and where there are none those of them that are not on_request. Throws for an unknown
/// name, with the nearest known one, and for one that does not apply.
std::vector<const MeasureInfo*> choose_measures(const std::vector<std::string>& names,
                                                const models::Config& config);

}  // namespace outliers::measures
