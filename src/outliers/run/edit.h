// What may be changed in a run, and how it is written: SITE[SELECTION]=OPERATION, several joined by ";". The
// same text is the command line's and the name in results. docs/edits.md defines every part.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"
#include "outliers/models/config.h"
#include "outliers/run/points.h"
#include "outliers/text/token_class.h"

namespace outliers::run {

/// What the entries of a point's tensor, or of a matrix of weights, are counted along.
enum class Axis { token, head, key, expert, channel, row, column };
const char* axis_name(Axis axis);

/// Numbers from 0, both ends included; negative ones count from the end.
struct Span {
  int64_t first, last;
  bool operator==(const Span&) const = default;
};

/// Alternatives on one axis.
struct Choice {
  Axis axis;
  std::vector<Span> spans = {};
  std::vector<text::TokenClass> classes = {};  ///< of tokens
  bool shared = false;                         ///< the shared expert, of a matrix
  bool operator==(const Choice&) const = default;
};

/// The entries that satisfy all of it.
struct Selection {
  std::vector<Choice> choices = {};  ///< in the order of Axis, one an axis at most; none: all of the axis
  bool massive = false;              ///< massive activations (Sun et al. 2402.17762)
  bool outlier = false;              ///< entries of outlier tokens (An et al. 2502.06415)
  int64_t top = 0;                   ///< of what the rest selects, the largest by abs x; 0: no such condition
  /// As many entries of each sequence (or of the matrix) as the rest selects, drawn by this seed where no
  /// token, head, channel, row or column has a selected one.
  std::optional<uint64_t> random = {};
  const Choice* find(Axis axis) const;
  bool has_criterion() const { return massive || outlier || top > 0 || random.has_value(); }
  bool operator==(const Selection&) const = default;
};

/// What becomes of the selected entries.
struct Operation {
  enum class Kind { zero, value, mean, class_mean, median, clamp, scale, noise, function };
  Kind kind = Kind::zero;
  double number = 0;  ///< value(x), clamp(x), scale(x); the standard deviation of noise(sd)
  uint64_t seed = 0;  ///< of noise
  text::TokenClass token_class = text::TokenClass::other;  ///< of mean(class)
  /// Only from C++: of the tensor of a slice (or of a matrix), all of it, gives one of its shape.
  std::function<at::Tensor(const at::Tensor& x, const Slice& slice)> function = {};
  /// Functions cannot be compared: any two are equal.
  bool operator==(const Operation& o) const {
    return kind == o.kind && number == o.number && seed == o.seed && token_class == o.token_class;
  }
};

/// A matrix of a layer, by the names of LayerWeight. gate, up and down of a layer of experts are those of its
/// numbered experts, or what expert= chooses.
struct WeightSite {
  int64_t layer;
  std::string module;
  bool operator==(const WeightSite&) const = default;
};

struct Edit {
  std::variant<Site, WeightSite> site;
  Selection selection = {};
  Operation operation = {};
  bool operator==(const Edit&) const = default;
  bool of_weights() const { return std::holds_alternative<WeightSite>(site); }
  /// Of its site; -1 for those of the model.
  int64_t layer() const;
  /// Whether more than the entry itself decides what becomes of it: criteria, means and medians.
  bool needs_statistics() const;
};

/// The canonical text: "layer.4.resid_out[token=0,channel=62]=zero". parse_edits() of it gives equal edits.
/// Neighbouring layers with the same edit are written as a range; a function is written as "function".
OUTLIERS_API std::string edits_name(const std::vector<Edit>& edits);

/// Throws one line that names the edit and what is wrong, with the nearest known name.
OUTLIERS_API std::vector<Edit> parse_edits(const std::string& text, const models::Config& config);

/// Whether any names a class of tokens, so that its input has to say them.
bool name_classes(const std::vector<Edit>& edits);

/// The axes of a point's tensor in the order of its dimensions after the first, of sequences.
std::vector<Axis> axes_of(Point point);

/// How many entries of its matrices an edit of weights selects.
int64_t matrix_entries(const Edit& edit, const models::Config& config);

/// Whether the edits can be made in this model: sites that exist, axes that they have, numbers inside them.
/// tokens: T of the input, 0 where it is not known yet.
void check_edits(const std::vector<Edit>& edits, const models::Config& config, int64_t tokens);

}  // namespace outliers::run
