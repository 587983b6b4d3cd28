// Of the table of fields (fields.h): model, run, criteria and inputs.
#pragma once

#include "outliers/results/field.h"
#include "outliers/results/fields_features.h"
#include "outliers/results/results.h"

namespace outliers::results {

inline constexpr const char* kFormats[] = {"gguf", "safetensors", "pytorch"};
inline constexpr const char* kDtypes[] = {"float32", "bfloat16", "float16"};
inline constexpr const char* kBos[] = {"model", "always", "never"};

/// What values of an enumeration are called.
template <typename E>
inline constexpr const char* kNames[] = {};
template <>
inline constexpr const char* kNames<InputKind>[] = {"prompt", "corpus"};
template <>
inline constexpr const char* kNames<Axis>[] = {"column", "row"};

inline constexpr Field kPatchHeightField = field("patch_height", "height in pixels of a patch"),
                       kPatchWidthField = field("patch_width", "its width"),
                       kRegistersField = field("registers", "register tokens").from(0);

template <typename V>
void fields(V& v, Vision& x) {
  v(field("image_height", "height in pixels of the images it was made for").from(0), x.image_height);
  v(field("image_width", "their width").from(0), x.image_width);
  v(kPatchHeightField.from(0), x.patch_height);
  v(kPatchWidthField.from(0), x.patch_width);
  v(kRegistersField, x.registers);
}

template <typename V>
void fields(V& v, Experts& x) {
  v(field("count", "experts of a layer").from(0), x.count);
  v(field("used", "of which a token passes so many").from(0), x.used);
  v(field("width", "neurons of each").from(0), x.width);
  v(field("shared_width", "neurons of the one that all tokens pass; 0: there is none").from(0),
    x.shared_width);
  v(field("layers", "layers that have experts").from(0), x.layers);
}

template <typename V>
void fields(V& v, Model& x) {
  v(field("name", "what the checkpoint calls itself"), x.name);
  v(field("family", "the row of the family table"), x.family);
  v(field("format", "what the weights were read from: pytorch is .bin, .pt, .pth").among(kFormats), x.format);
  v(field("layers", "L").from(1), x.layers);
  v(field("width", "D, of the residual stream").from(0), x.width);
  v(field("heads", "H, of queries").from(0), x.heads);
  v(field("kv_heads", "heads of keys and values").from(0), x.kv_heads);
  v(field("head_width", "d").from(0), x.head_width);
  v(field("mlp_width",
          "F, neurons of the widest MLP that a layer has; in a mixture of experts that is one expert, not "
          "their sum")
        .from(0),
    x.mlp_width);
  v(field("vocabulary", "tokens; 0 where the model reads images").from(0), x.vocabulary);
  v(field("positions", "the longest sequence that it was made for; 0: no limit is known").from(0),
    x.positions);
  v(field("parameters", "elements of all tensors; tied ones count once").from(0), x.parameters);
  v(field("weight_bytes", "bytes of all tensors as stored in the file").from(0), x.weight_bytes);
  v(field("vision", "only of models of images"), x.vision);
  v(field("experts", "only of mixtures of experts"), x.experts);
}

template <typename V>
void fields(V& v, Seconds& x) {
  v(field("load", "reading and dequantising weights").from(0), x.load);
  v(field("forward", "the model").from(0), x.forward);
  v(field("statistics", "everything measured").from(0), x.statistics);
  v(field("report", "putting results together").from(0), x.report);
}

template <typename V>
void fields(V& v, Program& x) {
  v(field("version", "of the program"), x.version);
  v(field("commit", "of the program's sources"), x.commit);
  v(field("libtorch", "the version of PyTorch's library"), x.libtorch);
  v(field("machine", "processor, cores and memory; the first reports have none"), x.machine);
  v(field("device", "cpu, cuda or cuda:N").like("^(cpu|cuda(:[0-9]+)?)$"), x.device);
  v(field("dtype",
          "what the products are computed in; --dtype auto is float32 on the CPU and the checkpoint's own "
          "dtype on a GPU (float32 where it is quantised)")
        .among(kDtypes),
    x.dtype);
  v(field("threads", "of the CPU").from(1), x.threads);
}

template <typename V>
void fields(V& v, Cost& x) {
  v(field("weight_bytes_read",
          "bytes of the checkpoint's tensors that were decoded, as stored; of several ranks, by rank 0; the "
          "first reports have none")
        .from(0),
    x.weight_bytes_read);
  v(field("memory_limit_bytes", "the limit that was set; not there without one").from(1),
    x.memory_limit_bytes);
  v(field("spilled_bytes", "written to disk for lack of memory, layer after layer").from(0), x.spilled_bytes);
  v(field("peak_host_bytes", "largest resident set of the process, mapped files included").from(0),
    x.peak_host_bytes);
  v(field("peak_device_bytes", "largest memory that tensors took on the device; 0 on the CPU").from(0),
    x.peak_device_bytes);
}

template <typename V>
void fields(V& v, Run& x) {
  fields(v, static_cast<Program&>(x));
  v(field("bos", "model: what the checkpoint's tokenizer adds").among(kBos), x.bos);
  v(field("seed",
          "0: the corpus's first windows, one after another; otherwise windows from random places, by this "
          "seed")
        .from(0)
        .to(static_cast<double>(kLargestSeed)),
    x.seed);
  v(field("measures", "what was measured, in the order of the table of measures"), x.measures);
  v(field("ranks", "processes that shared the sequences; not there for one").from(2), x.ranks);
  v(field("seconds", "wall-clock seconds"), x.seconds);
  v(field("first_product_seconds",
          "from the start of the process to the end of layer 0's first matrix product")
        .from(0),
    x.first_product_seconds);
  fields(v, static_cast<Cost&>(x));
}

template <typename V>
void fields(V& v, Criteria& x) {
  v(field("massive_above", "a massive activation is an abs x above this").from(0), x.massive_above);
  v(field("massive_ratio", "and above so many medians of abs x").from(0), x.massive_ratio);
  v(field("outlier_token_ratio", "an outlier token has an abs x above so many means of abs x").from(0),
    x.outlier_token_ratio);
  v(field("outlier_key_share", "an outlier key has a score of at least this part of the tokens").from(0),
    x.outlier_key_share);
  v(field("sink_epsilon", "the first key is a sink where its mean probability is above this").from(0),
    x.sink_epsilon);
  v(field("sink_queries", "that mean is over so many queries, the first").from(0), x.sink_queries);
  v(field("high_patch_norm", "a high patch has a norm above this").from(0), x.high_patch_norm);
  v(field("found_ratio", "an outlier is found where max/median of a layer's output reaches this").from(0),
    x.found_ratio);
  v(field("removed_share", "it is removed where the max stays below this part of the peak's").from(0),
    x.removed_share);
  v(field("step_share", "a layer steps an outlier up or down by at least this part of its peak")
        .from(0)
        .or_left_out(),
    x.step_share);
  v(field("super_weight_spike", "a down projection's output above this shows a super weight",
          "arXiv 2411.07191, section 3.1")
        .from(0)
        .or_left_out(),
    x.super_weight_spike);
  v(field("residual_sink_rms",
          "a residual sink is a channel with abs x above so many root mean squares of its token")
        .from(0)
        .or_left_out(),
    x.residual_sink_rms);
  v(field("residual_sink_share", "in at least this part of the tokens").from(0).to(1).or_left_out(),
    x.residual_sink_share);
  v(field("int8_magnitude", "an outlier feature of LLM.int8() has an abs x of at least this",
          "arXiv 2208.07339, section 3")
        .from(0)
        .or_left_out(),
    x.int8_magnitude);
  v(field("int8_layer_share", "in at least this part of the layers").from(0).to(1).or_left_out(),
    x.int8_layer_share);
  v(field("int8_token_share", "and in at least this part of the tokens").from(0).to(1).or_left_out(),
    x.int8_token_share);
  v(field("super_expert_quantile", "a super expert's largest output is above this quantile of all experts'",
          "arXiv 2507.23279")
        .from(0)
        .to(1)
        .or_left_out(),
    x.super_expert_quantile);
  v(field("super_expert_share", "and above this part of the largest of all").from(0).to(1).or_left_out(),
    x.super_expert_share);
  v(field("dormant_head_mass", "a dormant head gives the first key a mean probability above this")
        .from(0)
        .to(1)
        .or_left_out(),
    x.dormant_head_mass);
  v(field("dead_head_share", "a dead head's output has a norm below this part of its layer's mean")
        .from(0)
        .or_left_out(),
    x.dead_head_share);
  v(field("fp16_max", "the largest number of float16").from(0), x.fp16_max);
  v(field("fp8_e4m3_max", "the largest number of float8 e4m3").from(0), x.fp8_e4m3_max);
  v(field("int8_steps", "steps of a symmetric int8 scale on one side of zero").from(0), x.int8_steps);
  v(field("int8_zero_step", "a step of more medians than this rounds a median value to zero").from(0),
    x.int8_zero_step);
}

template <typename V>
void fields(V& v, Extent& x) {
  v(field("max", "the largest abs x").from(0), x.max);
  v(field("median", "median of abs x").from(0), x.median);
}

template <typename V>
void fields(V& v, Amax& x) {
  fields_of_amax(v, x);
  v(field("of_largest",
          "its abs over the largest finite number of each format: above 1 it becomes infinite or is cut off")
        .from(0)
        .named(kRanges),
    x.of_largest);
}

template <typename V>
void fields(V& v, Input& x) {
  v(field("name",
          "prompt, prompt2, ..., corpus, corpus2, ...: layers, the summary and arrays name it by this")
        .like("^[A-Za-z0-9_-]+$"),
    x.name);
  v(field("kind", "a prompt is one sequence, looked at token by token"), x.kind);
  v(field("source", "a prompt's text, or the image's name; what the corpus is called"), x.source);
  v(field("sequences", "windows of the corpus, images; 1 of a prompt").from(1), x.sequences);
  v(field("tokens_per_sequence", "a BOS counts as a token of its window").from(1), x.tokens_per_sequence);
  v(field("ids", "of a prompt: its tokens; of an image their numbers").from(0).or_left_out(), x.ids);
  v(field("tokens",
          "their texts for axes: control characters escaped, a lone byte as \\xNN; of an image [CLS], "
          "[REG0], r3c7")
        .or_left_out(),
    x.tokens);
  v(field("classes",
          "of each token: cls, register, patch of images; else initial, strong_delimiter, weak_word or other",
          "arXiv 2502.06415, section 3.3")
        .among(kClasses)
        .or_left_out(),
    x.classes);
  v(field("kept_tokens", "of a prompt: so many of its first tokens' activations are in arrays.npz").from(0),
    x.kept_tokens);
  v(field("attention_maps",
          "whether arrays.npz has the prompt's maps; not where they would take more than 256 MiB"),
    x.attention_maps);
  v(field("embedding", "of a prompt: what layer 0 reads"), x.embedding);
  v(field("amax",
          "largest abs x of final_norm_out and, of prompts, of logits: by point, as in a layer's inputs")
        .or_left_out(),
    x.amax);
  v(field("int8_outliers",
          "channels with abs x >= {int8_magnitude} at attn_norm_out or mlp_norm_out in at least "
          "{int8_layer_share} of the layers and {int8_token_share} of the tokens, over all layers that the "
          "summary tells of",
          "arXiv 2208.07339, section 3"),
    x.int8_outliers);
}

template <typename V>
void fields(V& v, Images& x) {
  v(field("names", "the files, in order; of an .npy of several images name.npy[3]").not_empty(), x.names);
  v(field("left_out", "how many more there were, beyond the limit, which were not read").from(0), x.left_out);
  v(field("height", "height in pixels, as the model read them").from(1), x.height);
  v(field("width", "width in pixels").from(1), x.width);
  v(kPatchHeightField.from(1), x.patch_height);
  v(kPatchWidthField.from(1), x.patch_width);
  v(field("rows", "rows of patches").from(1), x.rows);
  v(field("columns", "columns of patches").from(1), x.columns);
  v(kRegistersField, x.registers);
}

}  // namespace outliers::results
