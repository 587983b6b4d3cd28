// What a report found, as types: the content of results.json (schema outliers-results/2). fields.h says of
// each field what it is called there and what it means; json.h reads and writes. Nothing above this room
// touches the JSON. Everything counts from 0. NaN stands for a number that is not finite, null in the file.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "outliers/core/criteria.h"
#include "outliers/results/features.h"
#include "outliers/results/finding.h"
#include "outliers/results/lifecycle.h"
#include "outliers/results/named.h"
#include "outliers/results/super_weights.h"

namespace outliers::results {

inline constexpr const char* kSchema = "outliers-results/2";
/// Of Run::seed: 2^53 - 1, up to which the JSON of every language is exact.
inline constexpr int64_t kLargestSeed = (int64_t{1} << 53) - 1;
inline constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct Vision {
  int64_t image_height = 0, image_width = 0, patch_height = 0, patch_width = 0, registers = 0;
};

struct Experts {
  int64_t count = 0, used = 0, width = 0, shared_width = 0, layers = 0;
};

struct Model {
  std::string name, family, format;
  int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, head_width = 0, mlp_width = 0, vocabulary = 0,
          positions = 0, parameters = 0, weight_bytes = 0;
  std::optional<Vision> vision;
  std::optional<Experts> experts;
};

struct Seconds {
  double load = 0, forward = 0, statistics = 0, report = 0;
};

/// What a run was computed by.
struct Program {
  std::string version, commit, libtorch;
  std::optional<std::string> machine;
  std::string device, dtype;
  int64_t threads = 1;
};

/// What it took.
struct Cost {
  std::optional<int64_t> weight_bytes_read, memory_limit_bytes, spilled_bytes;
  int64_t peak_host_bytes = 0, peak_device_bytes = 0;
};

struct Run : Program, Cost {
  std::string bos;
  int64_t seed = 0;
  std::vector<std::string> measures;  ///< names of those that were computed, in the table's order
  std::optional<int64_t> ranks;
  Seconds seconds;
  double first_product_seconds = 0;
};

/// Largest and median abs x.
struct Extent {
  double max = 0, median = 0;
  /// max/median; 0 where the median is none.
  double ratio() const { return median > 0 ? max / median : 0; }
};

enum class InputKind { prompt, corpus };

/// The largest abs x of a point and where it stands; parts of a place that the point has not are empty.
struct Amax {
  double value = 0;  ///< signed
  int64_t sequence = 0;
  std::optional<int64_t> token, head, channel;
  std::optional<Expert> expert;
  Named<double> of_largest;  ///< abs value over the largest number of each of kRanges
};

/// What one number format loses of a tensor.
struct Rounding {
  double relative_error = 0, flushed = 0, worst_blocks = 0;
};

struct Rounded {
  Named<Rounding> formats;  ///< of kScaledFormats
};

/// Sequences of one length that were measured together. A prompt is one sequence, looked at token by token.
struct Input {
  std::string name;  ///< "prompt", "prompt2", "corpus", ...
  InputKind kind = InputKind::corpus;
  std::string source;  ///< a prompt's text, or the image's name; what the corpus is called
  int64_t sequences = 1, tokens_per_sequence = 1;
  /// Of prompts only, one entry a token.
  std::vector<int64_t> ids;
  std::vector<std::string> tokens, classes;
  int64_t kept_tokens = 0;                                     ///< whose activations arrays.npz has
  bool attention_maps = false;                                 ///< whether arrays.npz has them
  std::optional<Extent> embedding;                             ///< of what layer 0 reads, of prompts
  Named<Amax> amax;                                            ///< of the model's own points, by name
  std::optional<std::vector<Int8Outlier>> int8_outliers = {};  ///< those in most tokens first

  bool is_prompt() const { return kind == InputKind::prompt; }
};

/// The images that were read, where the model reads images.
struct Images {
  std::vector<std::string> names;
  int64_t left_out = 0, height = 1, width = 1, patch_height = 1, patch_width = 1, rows = 1, columns = 1,
          registers = 0;
};

/// One value of a tensor and where it stands.
struct Place {
  double value = 0;  ///< signed
  int64_t sequence = 0, token = 0, channel = 0;
  std::optional<Expert> expert;
  std::optional<std::string> token_text, token_class;
};

struct ChannelMax {
  int64_t channel = 0;
  double max = 0;
  std::optional<Expert> expert;
};

struct TokenCount {
  std::string token_text, token_class;
  int64_t count = 0;
};

/// One point of a layer over all tokens of an input.
struct Activations {
  double max = 0, median = 0, mean = 0, kurtosis_pearson = 0, infinity_norm = 0;
  std::vector<double> top3_mean;
  int64_t count = 0;
  std::vector<Place> top;
  std::vector<ChannelMax> top_channels;
  std::vector<Place> massive;
  int64_t massive_count = 0;
  int64_t nonfinite = 0;
  std::vector<TokenCount> massive_tokens;

  Extent extent() const { return {max, median}; }
};

struct Key {
  int64_t sequence = 0, key = 0;
  double score = 0;
  std::string token_text, token_class;
};

struct Head {
  int64_t head = 0;
  double outlier_share = 0, sink_rate = 0;
};

struct Attention {
  std::vector<Key> top_keys, outlier_keys;
  double median = 0;
  std::vector<double> top3_mean;
  std::vector<Head> heads;
  int64_t nonfinite = 0;
};

/// Who made one value of the residual stream in one layer.
struct Write {
  int64_t token = 0, channel = 0;
  double resid_in = 0, attention = 0, mlp = 0, resid_out = 0;
  std::vector<Neuron> neurons;
};

struct Writes {
  Write largest;
  std::optional<Write> followed;
};

/// Norms of one kind of token.
struct NormExtent {
  double median = kNone, max = kNone;
};

struct RegisterNorms {
  double median = kNone, max = kNone;
  std::vector<double> each;
};

struct PatchPlace {
  int64_t sequence = 0, token = 0;
  std::string token_text, token_class;
};

struct PatchNorms {
  double median = kNone, max = kNone;
  PatchPlace largest;
  int64_t high = 0, count = 0;
};

struct Norms {
  NormExtent cls;
  std::optional<RegisterNorms> registers;
  PatchNorms patches;
};

/// What passed one expert of a layer.
struct ExpertInput {
  Expert expert;
  int64_t tokens = 0;
  double down_in_max = 0, down_out_max = 0;
};

/// A measure's numbers by name; which they are, and their shapes, is told by Results::definitions.
using Values = Named<std::vector<double>>;
/// Results::definitions has them by this and their name.
inline constexpr std::string_view kValuesPath = "layers[].inputs.*.values.";

/// One input in one layer; a measure that was not chosen leaves its part empty.
struct LayerInput {
  std::optional<Activations> resid_out, down_in;
  std::optional<Attention> attention;
  std::optional<Writes> writes;
  std::optional<Norms> norms;
  std::vector<ExpertInput> experts;
  Named<Amax> amax;                          ///< by point, in the order of computation
  Named<Rounded> rounding;                   ///< of what linear layers read, by point
  std::vector<ResidualSink> residual_sinks;  ///< of what the layer reads; those in most tokens first
  Values values;

  /// By the point's name; nullptr where there is none.
  const Activations* activations(std::string_view point) const {
    const std::optional<Activations>& found = point == "resid_out" ? resid_out : down_in;
    return found ? &*found : nullptr;
  }
};

/// Points whose activations are measured.
inline constexpr const char* kPoints[] = {"resid_out", "down_in"};

/// A column of a matrix and how far its largest entry, which stands in `row`, exceeds the column's mean.
struct ColumnLine {
  int64_t column = 0;
  double ratio = 0;
  int64_t row = 0;
  double value = 0;
};

struct RowLine {
  int64_t row = 0;
  double ratio = 0;
  int64_t column = 0;
  double value = 0;
};

enum class Axis { column, row };

struct MatrixScore {
  double score = 0;
  Axis axis = Axis::column;
  int64_t index = 0;
  double max = 0, mean = 0, median = 0, kurtosis_pearson = 0;
  int64_t nonfinite = 0;
};

struct Weight : MatrixScore {
  std::vector<ColumnLine> top_columns;
  std::vector<RowLine> top_rows;
  std::optional<Expert> expert;  ///< whose it is, where it stands for all of them
};

/// The matrices of one expert; without lines.
struct ExpertWeights {
  Expert expert;
  Named<MatrixScore> modules;  ///< gate, up, down
};

/// The matrices of one layer.
struct Weights {
  Named<Weight> modules;  ///< q, k, v, o, gate, up, down
  std::optional<Weight> router;
  std::vector<ExpertWeights> experts;
};

struct Layer {
  int64_t layer = 0;
  std::optional<Weights> weights;
  Named<Rounded> rounding;  ///< of its matrices, by module
  std::optional<Collinearity> collinearity;
  Named<LayerInput> inputs;
};

/// Where values first stop being finite.
struct Before {
  int64_t layer = 0;
  std::string point;
  double value = 0;
  std::optional<int64_t> sequence, token, channel;
  std::optional<Expert> expert;
  std::optional<std::string> token_text, token_class;
};

struct FirstNonfinite {
  int64_t layer = 0;
  std::string point, value, input;  ///< value: "NaN", "Inf", "-Inf"
  int64_t sequence = 0, token = 0, channel = 0;
  std::optional<Expert> expert;
  std::string token_text, token_class;
  std::optional<Before> before;
};

struct MassiveToken {
  int64_t token = 0;
  std::string text, token_class;
  int64_t first_layer = 0, last_layer = 0;
};

/// What a prompt tells of an outlier's life.
struct Life {
  std::string input;
  bool found = false;
  std::optional<int64_t> born_layer, peak_layer, removed_layer;
  std::vector<int64_t> massive_channels;
  std::vector<MassiveToken> massive_tokens;
};

/// A neuron of the MLP with its column of the down projection.
struct AlignedNeuron {
  int64_t neuron = 0;
  std::optional<Expert> expert;
  double ratio = 0, weight = 0;
  int64_t row = 0;
  std::optional<double> down_in, product;
};

/// A layer whose down_in has outliers, and what weights, activations and their product point at there.
struct OutlierLayer {
  int64_t layer = 0;
  std::string input;
  double max_over_mean = 0;
  bool aligned = false;
  AlignedNeuron top_weight, top_activation, top_product;
};

struct OutlierLayers {
  std::optional<double> share;
  std::vector<OutlierLayer> layers;
};

struct Alignment {
  std::optional<double> weight_activation, activation_attention;
  std::optional<OutlierLayers> outlier_layers;
};

struct Headroom {
  int64_t layer = 0;
  std::string input;
  double max = 0;
  std::optional<double> max_over_median;
  double of_fp16_max = 0, of_fp8_e4m3_max = 0;
  std::optional<double> int8_step_over_median;
  int64_t nonfinite = 0;
};

/// The first place, in the order of computation, where abs x passes the largest number of a format.
struct Overflow {
  std::optional<int64_t> layer;  ///< none: a point of the model's own
  std::string point;
  double value = 0;  ///< signed
  double largest = 0;
  std::string input;
  int64_t sequence = 0;
  std::optional<int64_t> token, head, channel;
  std::optional<Expert> expert;
  std::optional<std::string> token_text, token_class;
};

struct NormSummary {
  int64_t layer = 0;
  double cls_median = kNone, register_median = kNone, patch_median = kNone, patch_max = kNone;
  int64_t high_patches = 0;
  double high_share = 0;
};

struct Summary {
  std::optional<FirstNonfinite> first_nonfinite;
  std::vector<Life> lives;  ///< one a prompt
  Alignment alignment;
  std::optional<double> sink_rate;
  Named<std::optional<Headroom>> headroom;        ///< by point
  Named<std::optional<Overflow>> first_overflow;  ///< by format, of kRanges
  std::optional<NormSummary> norms;
  std::optional<Axes> axes;
  std::optional<SecondarySinks> secondary_sinks;
  std::optional<std::vector<SuperExpert>> super_experts;
  std::optional<InactiveHeads> inactive_heads;
};

/// What a field of these results is.
struct Definition {
  std::string shape;       ///< of a measure's values: "[H]"
  std::string title;       ///< of a measure's values: what a chart calls them
  std::string definition;  ///< a sentence
  std::string source;      ///< "arXiv 2402.17762, section 3"
};

struct Results {
  std::string schema = kSchema;
  Model model;
  Run run;
  Criteria criteria;
  std::vector<Input> inputs;
  std::optional<Images> images;
  std::vector<Layer> layers;
  Summary summary;
  std::optional<Lifecycle> lifecycle;
  std::optional<SuperWeights> super_weights;
  std::optional<Criticality> criticality;  ///< of those, where there are any
  std::optional<VocabularySpikes> vocabulary;
  std::optional<std::vector<Finding>> findings;  ///< the worst first; nothing: no rules were asked
  Named<Definition> definitions;                 ///< by the field's path

  /// nullptr where there is none of the name.
  const Input* input(std::string_view name) const;
  /// The first prompt and the first corpus; nullptr without.
  const Input* prompt() const;
  const Input* corpus() const;
  /// Layers before the first value that is not finite: of these the summary tells.
  int64_t told_layers() const;
  /// What LayerInput::values of the name are; nullptr where there is none.
  const Definition* value_definition(std::string_view name) const;
};

}  // namespace outliers::results
