#include "outliers/models/export.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string_view>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "outliers/core/dtype.h"
#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/json.h"
#include "outliers/core/output.h"
#include "outliers/core/progress.h"
#include "outliers/core/regular_file.h"
#include "outliers/io/gguf.h"
#include "outliers/io/mapped_file.h"
#include "outliers/io/safetensors.h"
#include "outliers/models/config_keys.h"
#include "outliers/models/families.h"
#include "outliers/models/model.h"

namespace outliers::models {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kTokenizerFiles[] = {"tokenizer.json",     "tokenizer_config.json",
                                           "tokenizer.model",    "special_tokens_map.json",
                                           "added_tokens.json",  "vocab.json",
                                           "merges.txt",         "chat_template.jinja",
                                           "chat_template.json", "generation_config.json"};
/// How images become pixel values.
constexpr const char* kProcessorFiles[] = {"preprocessor_config.json", "processor_config.json"};

/// One tensor to write: under which name, of which shape, and how it is loaded.
struct Part {
  io::TensorPlan plan;
  std::function<at::Tensor()> load;
};

bool is_float(const io::TensorInfo& info) {
  constexpr std::string_view kIntegers[] = {"I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL"};
  return std::find(std::begin(kIntegers), std::end(kIntegers), info.encoding) == std::end(kIntegers);
}

/// Every tensor of a Hugging Face checkpoint that holds numbers, under its own name. Integers are buffers
/// (masks, position ids) that models make anew.
std::vector<Part> parts_of_hugging_face(const Model& model, at::ScalarType dtype) {
  std::vector<Part> parts;
  const io::Checkpoint& checkpoint = model.checkpoint();
  for (const io::TensorInfo& info : checkpoint.tensors()) {
    if (!is_float(info) || info.name.ends_with("rotary_emb.inv_freq")) continue;
    parts.push_back({{info.name, info.shape, dtype},
                     [&checkpoint, &info, dtype] { return checkpoint.load(info.name, dtype); }});
  }
  return parts;
}

std::string with_layer(std::string pattern, int64_t layer) {
  if (const size_t star = pattern.find('*'); star != std::string::npos)
    pattern.replace(star, 1, std::to_string(layer));
  return pattern;
}

const Family& family_of(const Config& config) {
  for (const Family& family : families()) {
    if (config.family == family.name) return family;
  }
  TORCH_INTERNAL_ASSERT(false, "no family ", config.family);
}

/// A GGUF's weights by Hugging Face's names, in its order of rows.
std::vector<Part> parts_of_gguf(const Model& model, at::ScalarType dtype) {
  const Family& family = family_of(model.config());
  std::vector<Part> parts;
  const auto add = [&](const WeightRow& row, int64_t layer) {
    for (const char* suffix : {".weight", ".bias"}) {
      const std::string ours = with_layer(row.ours, layer) + suffix;
      const StoredWeight* weight = model.weights().find(ours);
      if (weight == nullptr) continue;
      TORCH_INTERNAL_ASSERT(row.hugging_face_transform == Transform::none, ours, " is stored otherwise");
      // The head stands beside the body.
      const std::string name = (ours == "head.weight" ? "" : family.prefixes.front()) +
                               with_layer(row.hugging_face, layer) + suffix;
      // GGUF's writers add the one that Hugging Face's norms leave out.
      const bool less_one = family.traits.storage.norm_less_one && ours.ends_with("norm.weight");
      parts.push_back({{name, weight->shape, dtype}, [&model, ours, less_one, dtype] {
                         return less_one ? model.load(ours, at::kFloat).sub_(1.0).to(dtype)
                                         : model.load(ours, dtype);
                       }});
    }
  };
  for (const WeightRow& row : family.weights) {
    if (std::string_view(row.ours).find('*') == std::string_view::npos) add(row, -1);
  }
  for (int64_t layer = 0; layer < model.config().layers; ++layer) {
    for (const WeightRow& row : family.weights) {
      if (std::string_view(row.ours).find('*') != std::string_view::npos) add(row, layer);
    }
  }
  return parts;
}

/// The checkpoint's own config.json for weights that are neither quantised nor of another dtype.
ordered_json config_of_hugging_face(const Model& model, at::ScalarType dtype) {
  const fs::path file = model.checkpoint().directory() / "config.json";
  ordered_json config = parse_json<ordered_json>(read_regular(file), printable(file.string()), "null");
  require(config.is_object(), "{}: this is not a JSON object", printable(file.string()));
  const auto state = [&](ordered_json& part) {
    part.erase("quantization_config");
    for (const char* key : {"dtype", "torch_dtype"}) {
      if (part.contains(key)) part[key] = dtype_name(dtype);
    }
  };
  state(config);
  for (const char* inner : {"text_config", "vision_config"}) {
    if (config.contains(inner) && config[inner].is_object()) state(config[inner]);
  }
  // Readers older than transformers 5 believe it before the tensors.
  if (has_head(model.config()) && !model.config().tied_embeddings) config["tie_word_embeddings"] = false;
  if (!config.contains("dtype") && !config.contains("torch_dtype")) config["torch_dtype"] = dtype_name(dtype);
  return config;
}

/// rope_scaling of transformers; null for a rotary that is not scaled.
ordered_json scaling_of(const Rotary& rotary, const std::string& where) {
  if (!rotary.factors.empty()) {
    // Divisors of each frequency say what made them less than any scaling's parameters; longrope takes them.
    const std::vector<double>& longer = rotary.long_factors.empty() ? rotary.factors : rotary.long_factors;
    return {{"rope_type", "longrope"},
            {"factor", rotary.factor},
            {"short_factor", rotary.factors},
            {"long_factor", longer},
            {"attention_factor", rotary.attention_factor},
            {"original_max_position_embeddings", rotary.original_positions}};
  }
  if (rotary.scaling.empty()) return nullptr;
  ordered_json scaling = {{"rope_type", rotary.scaling}, {"factor", rotary.factor}};
  if (rotary.scaling == "linear") return scaling;
  require(rotary.scaling == "yarn", kUnsupported,
          "{}: the rotary scaling '{}' cannot be written to config.json", where, rotary.scaling);
  scaling["original_max_position_embeddings"] = rotary.original_positions;
  scaling["beta_fast"] = rotary.beta_fast;
  scaling["beta_slow"] = rotary.beta_slow;
  scaling["attention_factor"] = rotary.attention_factor;
  return scaling;
}

/// config.json for what a GGUF's metadata say, by the keys of transformers.
ordered_json config_of_gguf(const Model& model, at::ScalarType dtype) {
  const Config& c = model.config();
  const Family& family = family_of(c);
  const std::string where = printable(model.checkpoint().path().string());
  require(family.architecture != nullptr, kUnsupported,
          "{}: config.json cannot be built for a GGUF of the family {}; export its Hugging Face checkpoint",
          where, family.name);
  const json defaults = json::parse(family.defaults);
  ordered_json config = {{"architectures", {family.architecture}},
                         {"model_type", family.model_types.front()},
                         {"torch_dtype", dtype_name(dtype)},
                         {"num_hidden_layers", c.layers},
                         {"hidden_size", c.width},
                         {"intermediate_size", c.mlp_width},
                         {"num_attention_heads", c.heads},
                         {"num_key_value_heads", c.kv_heads},
                         {"head_dim", c.head_width},
                         {"vocab_size", c.vocabulary},
                         {"max_position_embeddings", c.max_positions},
                         {"rms_norm_eps", c.norm_epsilon},
                         {"tie_word_embeddings", c.tied_embeddings}};
  config[std::string(names_read(family, "hidden_act").front())] = c.activation == Activation::silu   ? "silu"
                                                                  : c.activation == Activation::relu ? "relu"
                                                                  : c.activation == Activation::gelu
                                                                      ? "gelu"
                                                                      : "gelu_pytorch_tanh";
  if (family.biases == Biases::from_checkpoint) {
    config["attention_bias"] = c.attention_bias;
    if (defaults.contains("mlp_bias")) config["mlp_bias"] = c.mlp_bias;
  }

  const Rotary& global = c.rotaries[0];
  config["rope_theta"] = global.base;
  config["rope_scaling"] = scaling_of(global, where);
  if (global.width != c.head_width)
    config["partial_rotary_factor"] = static_cast<double>(global.width) / static_cast<double>(c.head_width);
  if (family.local_rotary_base > 0) config["rope_local_base_freq"] = c.rotaries[1].base;
  ordered_json types = ordered_json::array();
  int64_t window = 0;
  for (const int64_t of_layer : c.windows) {
    window = std::max(window, of_layer);
    types.push_back(of_layer > 0 ? "sliding_attention" : "full_attention");
  }
  // llama.cpp calls Mistral a Llama; transformers' Llama would pass the window over.
  require(window == 0 || family.windows != WindowRule::none, kUnsupported,
          "{}: the sliding window of {} tokens cannot be written to config.json: {} has none; export the "
          "model's Hugging Face checkpoint",
          where, window, family.architecture);
  if (window > 0) {
    config["sliding_window"] = window;
    config["layer_types"] = types;
  }
  if (defaults.contains("use_sliding_window")) config["use_sliding_window"] = window > 0;

  const double plain = 1.0 / std::sqrt(static_cast<double>(c.head_width));
  if (defaults.contains("query_pre_attn_scalar")) {
    // transformers takes whole numbers only as such.
    const double scalar = 1.0 / (c.attention_scale * c.attention_scale), whole = std::round(scalar);
    if (std::abs(scalar - whole) < 1e-6 * whole)
      config["query_pre_attn_scalar"] = static_cast<int64_t>(whole);
    else
      config["query_pre_attn_scalar"] = scalar;
  } else {
    require(std::abs(c.attention_scale - plain) < 1e-6 * plain, kUnsupported,
            "{}: the scale {} of the attention scores cannot be written to config.json", where,
            c.attention_scale);
  }
  if (c.attention_softcap > 0) config["attn_logit_softcapping"] = c.attention_softcap;
  if (c.logit_softcap > 0) config["final_logit_softcapping"] = c.logit_softcap;
  for (const auto& [key, name] : {std::pair{"tokenizer.ggml.bos_token_id", "bos_token_id"},
                                  std::pair{"tokenizer.ggml.eos_token_id", "eos_token_id"},
                                  std::pair{"tokenizer.ggml.padding_token_id", "pad_token_id"}}) {
    const auto id = model.checkpoint().metadata()->integer(key);
    config[name] = id && *id >= 0 && *id < c.vocabulary ? ordered_json(*id) : ordered_json(nullptr);
  }
  return config;
}

void write_text(const fs::path& path, std::string_view text) {
  OutputFile file(path, false);
  file.write(text);
  file.commit();
}

}  // namespace

Exported export_checkpoint(const Model& model, const fs::path& directory, const ExportOptions& options) {
  const bool gguf = model.checkpoint().format() == io::Format::gguf;
  const ordered_json config =
      gguf ? config_of_gguf(model, options.dtype) : config_of_hugging_face(model, options.dtype);
  const std::vector<Part> parts =
      gguf ? parts_of_gguf(model, options.dtype) : parts_of_hugging_face(model, options.dtype);

  // Tensors in order, a new file where the next would be too much.
  std::vector<std::vector<const Part*>> files;
  Exported result;
  uint64_t in_file = 0;
  for (const Part& part : parts) {
    uint64_t bytes = c10::elementSize(part.plan.dtype);
    for (const int64_t size : part.plan.shape) bytes *= static_cast<uint64_t>(size);
    if (files.empty() || (in_file > 0 && in_file + bytes > options.shard_bytes)) {
      files.emplace_back();
      in_file = 0;
    }
    files.back().push_back(&part);
    in_file += bytes;
    result.bytes += bytes;
  }
  result.tensors = static_cast<int64_t>(parts.size());
  result.files = static_cast<int64_t>(files.size());

  Progress progress("export", result.tensors, "tensors");
  ordered_json weight_map = ordered_json::object();
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string name = files.size() == 1
                                 ? "model.safetensors"
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, files.size());
    std::vector<io::TensorPlan> plan;
    for (const Part* part : files[i]) plan.push_back(part->plan);
    io::SafetensorsWriter writer(directory / name, false, plan, {{"format", "pt"}});
    for (const Part* part : files[i]) {
      check_interrupt();
      const at::Tensor values = part->load();
      io::check_mapped_files();
      // float16 ends at 65504; a silent infinity would be another model.
      require(options.dtype != at::kHalf || at::isfinite(values).all().item<bool>(), kArgument,
              "tensor {} has values that float16 cannot hold; export as bfloat16 or float32",
              printable(part->plan.name));
      writer.add(part->plan.name, values);
      weight_map[part->plan.name] = name;
      progress.advance();
    }
    writer.commit();
  }
  if (files.size() > 1) {
    const ordered_json index = {{"metadata", {{"total_size", result.bytes}}}, {"weight_map", weight_map}};
    write_text(directory / "model.safetensors.index.json", index.dump(1) + "\n");
  }
  write_text(directory / "config.json", config.dump(1) + "\n");
  const auto copy = [&](const char* name) {
    const fs::path file = model.checkpoint().directory() / name;
    if (gguf || !fs::exists(file)) return false;
    write_text(directory / name, read_regular(file));
    return true;
  };
  for (const char* name : kTokenizerFiles) {
    if (copy(name)) result.tokenizer = result.tokenizer || std::string_view(name).starts_with("tokenizer.");
  }
  for (const char* name : kProcessorFiles) result.processor = copy(name) || result.processor;
  if (reads_images(model.config())) {
    if (!result.processor) result.missing = "no preprocessor_config.json: there is none beside the weights";
  } else if (!result.tokenizer) {
    result.missing = gguf ? "no tokenizer: that of a GGUF is not converted, take the original model's files"
                          : "no tokenizer: there is none beside the weights";
  }
  return result;
}

}  // namespace outliers::models
