#include "outliers/io/quantized.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/core/shape.h"
#include "outliers/io/derived.h"

namespace outliers::io {
namespace {

using nlohmann::json;

/// What reading one method needs: the stored tensors, and messages that name file and tensor.
class Method {
 public:
  Method(const Checkpoint& stored, const json& config, const std::string& where)
      : stored_(stored), config_(config), where_(where) {}

  /// config[key] as an integer; `otherwise` where it is absent or null.
  int64_t integer(const char* key, int64_t otherwise) const {
    const auto found = config_.find(key);
    if (found == config_.end() || found->is_null()) return otherwise;
    require(found->is_number_integer(), "{}: quantization_config: '{}' should be an integer", where_, key);
    return found->get<int64_t>();
  }
  std::string string(const char* key, const std::string& otherwise) const {
    const auto found = config_.find(key);
    if (found == config_.end() || found->is_null()) return otherwise;
    require(found->is_string(), "{}: quantization_config: '{}' should be a string", where_, key);
    return found->get<std::string>();
  }
  /// Throws unless config[key] is one of `known`.
  void only(const char* key, const std::string& otherwise,
            std::initializer_list<std::string_view> known) const {
    const std::string value = string(key, otherwise);
    require(std::find(known.begin(), known.end(), value) != known.end(),
            "{}: quantization_config: the {} '{}' is not supported; known: {}", where_, key, printable(value),
            fmt::join(known, ", "));
  }
  /// The tensor `stem` + `suffix`, checked to have one of `encodings` and `dimensions`.
  const TensorInfo& part(const std::string& stem, const char* suffix,
                         const std::vector<std::string_view>& encodings, size_t dimensions) const {
    const TensorInfo* info = stored_.find(stem + suffix);
    require(info != nullptr, "{}: the quantised weight {} lacks its tensor {}", where_, printable(stem),
            suffix + 1);
    require(std::find(encodings.begin(), encodings.end(), info->encoding) != encodings.end() &&
                info->shape.size() == dimensions,
            "{}: tensor {} is {} of shape {}; as part of a quantised weight it should be {} of {} dimensions",
            where_, printable(info->name), info->encoding, shape_string(info->shape),
            fmt::join(encodings, " or "), dimensions);
    return *info;
  }
  [[noreturn]] void wrong_shape(const TensorInfo& info, const std::string& wanted) const {
    fail("{}: tensor {} has shape {}, which does not fit its quantised weight: {}", where_,
         printable(info.name), shape_string(info.shape), wanted);
  }
  void shape(const TensorInfo& info, std::vector<int64_t> wanted) const {
    if (info.shape != wanted) wrong_shape(info, "it should be " + shape_string(wanted));
  }

  const Checkpoint& stored() const { return stored_; }
  const json& config() const { return config_; }
  const std::string& where() const { return where_; }

 private:
  const Checkpoint& stored_;
  const json& config_;
  const std::string& where_;
};

struct Result {
  std::vector<DerivedTensor> derived;
  std::unordered_set<std::string> hidden;
};

const std::vector<std::string_view> kFloats = {"F16", "BF16", "F32"};

/// The stems of all tensors that end with `suffix`, in file order.
std::vector<std::string> stems(const Checkpoint& stored, std::string_view suffix) {
  std::vector<std::string> found;
  for (const TensorInfo& info : stored.tensors()) {
    if (info.name.size() > suffix.size() && info.name.ends_with(suffix))
      found.push_back(info.name.substr(0, info.name.size() - suffix.size()));
  }
  return found;
}

void hide(const Checkpoint& stored, Result& result, std::initializer_list<std::string_view> suffixes) {
  for (const std::string_view suffix : suffixes) {
    for (const std::string& stem : stems(stored, suffix)) result.hidden.insert(stem + std::string(suffix));
  }
}

int64_t ceil_divide(int64_t a, int64_t b) {
  return a / b + (a % b != 0);  // a group's size may be any number
}

/// int32 or int64 words along dimension `dim` -> 32 / bits values each, the lowest bits first.
at::Tensor unpack(const at::Tensor& words, int64_t bits, int64_t dim) {
  const at::Tensor shifts = at::arange(0, 32, bits, words.scalar_type());
  std::vector<int64_t> sizes = words.sizes().vec();
  sizes[static_cast<size_t>(dim)] *= shifts.numel();
  std::vector<int64_t> view(static_cast<size_t>(words.dim()) + 1, 1);
  view[static_cast<size_t>(dim) + 1] = shifts.numel();
  const at::Tensor values = at::__rshift__(words.unsqueeze(dim + 1), shifts.view(view));
  return values.bitwise_and((int64_t{1} << bits) - 1).reshape(sizes);
}

/// The group of each input channel, checked: stored (`g_idx`) or by size.
at::Tensor groups_of(const Checkpoint& stored, const TensorInfo* named, int64_t in, int64_t group_size,
                     int64_t groups) {
  if (named == nullptr) return at::arange(in, at::kLong).floor_divide(group_size);
  const at::Tensor index = stored.load(named->name, at::kDouble).to(at::kLong);
  require(index.numel() == in && index.ge(0).all().item<bool>() && index.lt(groups).all().item<bool>(),
          "{}: tensor {} names groups that are not there", stored.path().string(), printable(named->name));
  return index;
}

// GPTQ. qweight [in * bits / 32, out], qzeros [G, out * bits / 32], scales [G, out], g_idx [in]; w = s (q -
// z). Format 1 stores z - 1 (all of a word's zeros at once: GPTQModel's convert_gptq_v1_to_v2_format).
Result read_gptq(const Method& m) {
  m.only("checkpoint_format", m.string("format", "gptq"), {"gptq", "gptq_v2"});
  const int64_t bits = m.integer("bits", 0), group_option = m.integer("group_size", -1);
  require(bits == 2 || bits == 4 || bits == 8,
          "{}: quantization_config: GPTQ with {} bits is not supported; known: 2, 4, 8", m.where(), bits);
  const bool first_format = m.string("checkpoint_format", m.string("format", "gptq")) == "gptq";
  const int64_t per_word = 32 / bits;
  Result result;
  for (const std::string& stem : stems(m.stored(), ".qweight")) {
    const TensorInfo& q = m.part(stem, ".qweight", {"I32"}, 2);
    if (q.shape[0] == 0 || q.shape[1] == 0) m.wrong_shape(q, "it is empty");
    const int64_t in = q.shape[0] * per_word, out = q.shape[1];
    const TensorInfo& scales = m.part(stem, ".scales", kFloats, 2);
    const TensorInfo& zeros = m.part(stem, ".qzeros", {"I32"}, 2);
    const TensorInfo* index = m.stored().find(stem + ".g_idx");
    if (index != nullptr) m.shape(m.part(stem, ".g_idx", {"I32"}, 1), {in});
    const int64_t groups = scales.shape[0], group_size = group_option > 0 ? group_option : in;
    if (out % per_word != 0)
      m.wrong_shape(q, fmt::format("its columns should be a multiple of {}", per_word));
    m.shape(scales, {index != nullptr ? groups : ceil_divide(in, group_size), out});
    m.shape(zeros, {groups, out / per_word});
    DerivedTensor w;
    w.info = {stem + ".weight", {out, in}, fmt::format("GPTQ{}", bits)};
    w.sources = {q.name, zeros.name, scales.name};
    if (index != nullptr) w.sources.push_back(index->name);
    w.native = m.stored().native_dtype(scales.name);
    w.rows = [=, &stored = m.stored(), &q, &scales, &zeros, native = w.native](int64_t begin, int64_t end,
                                                                               bool) {
      const at::Tensor words = stored.load(q.name, at::kDouble).to(at::kInt).narrow(1, begin, end - begin);
      const at::Tensor values = unpack(words, bits, 0).to(at::kFloat);
      at::Tensor zero_words = stored.load(zeros.name, at::kDouble).to(at::kLong).bitwise_and(0xFFFFFFFF);
      if (first_format) {
        int64_t ones = 0;
        for (int64_t shift = 0; shift < 32; shift += bits) ones |= int64_t{1} << shift;
        zero_words = zero_words.add(ones).bitwise_and(0xFFFFFFFF);
      }
      const at::Tensor group = groups_of(stored, index, in, group_size, groups);
      const auto by_channel = [&](const at::Tensor& x) {
        return x.narrow(1, begin, end - begin).to(at::kFloat).index_select(0, group);
      };
      const at::Tensor shifted = values - by_channel(unpack(zero_words, bits, 1));
      return (by_channel(stored.load(scales.name, at::kFloat)) * shifted).t().to(native).to(at::kFloat);
    };
    result.derived.push_back(std::move(w));
  }
  return result;
}

// AWQ's GEMM layout. qweight [in, out / 8], qzeros [G, out / 8], scales [G, out], 4 bits; w = s (q - z).
// Nibble k of a word is output 0, 2, 4, 6, 1, 3, 5, 7 of its eight (AutoAWQ's AWQ_ORDER).
Result read_awq(const Method& m) {
  m.only("version", "gemm", {"gemm", "GEMM", "exllama", "ipex"});
  const int64_t bits = m.integer("bits", m.integer("w_bit", 4));
  require(bits == 4, "{}: quantization_config: AWQ with {} bits is not supported; known: 4", m.where(), bits);
  const int64_t group_option = m.integer("group_size", m.integer("q_group_size", 128));
  // Where output j of eight stands.
  const at::Tensor place = at::tensor({0, 4, 1, 5, 2, 6, 3, 7}, at::kLong);
  const auto values_of = [place](const at::Tensor& words) {  // [n, out / 8] -> [n, out]
    return unpack(words, 4, 1)
        .view({words.size(0), -1, 8})
        .index_select(2, place)
        .reshape({words.size(0), -1});
  };
  Result result;
  for (const std::string& stem : stems(m.stored(), ".qweight")) {
    const TensorInfo& q = m.part(stem, ".qweight", {"I32"}, 2);
    if (q.shape[0] == 0 || q.shape[1] == 0) m.wrong_shape(q, "it is empty");
    const int64_t in = q.shape[0], out = q.shape[1] * 8;
    const TensorInfo& scales = m.part(stem, ".scales", kFloats, 2);
    const TensorInfo& zeros = m.part(stem, ".qzeros", {"I32"}, 2);
    const int64_t group_size = group_option > 0 ? group_option : in, groups = ceil_divide(in, group_size);
    m.shape(scales, {groups, out});
    m.shape(zeros, {groups, out / 8});
    DerivedTensor w;
    w.info = {stem + ".weight", {out, in}, "AWQ4"};
    w.sources = {q.name, zeros.name, scales.name};
    w.native = m.stored().native_dtype(scales.name);
    w.rows = [=, &stored = m.stored(), &q, &scales, &zeros, native = w.native](int64_t begin, int64_t end,
                                                                               bool) {
      const auto columns = [&](const at::Tensor& x) {
        return x.narrow(1, begin, end - begin).to(at::kFloat);
      };
      const at::Tensor group = groups_of(stored, nullptr, in, group_size, groups);
      const at::Tensor values = columns(values_of(stored.load(q.name, at::kDouble).to(at::kInt)));
      const at::Tensor zero = columns(values_of(stored.load(zeros.name, at::kDouble).to(at::kInt)));
      const at::Tensor scale = columns(stored.load(scales.name, at::kFloat));
      return (scale.index_select(0, group) * (values - zero.index_select(0, group)))
          .t()
          .to(native)
          .to(at::kFloat);
    };
    result.derived.push_back(std::move(w));
  }
  return result;
}

/// One scale for each block of `size` = [rows, columns] -> one for each element of rows [begin, end).
at::Tensor spread(const at::Tensor& scale, std::array<int64_t, 2> size, int64_t begin, int64_t end,
                  int64_t columns) {
  const at::Tensor row = at::arange(begin, end, at::kLong).floor_divide(size[0]);
  const at::Tensor column = at::arange(columns, at::kLong).floor_divide(size[1]);
  return scale.index_select(0, row).index_select(1, column);
}

/// The blocks that a scale of shape [R, C] stands for: `named` where it fits (the last ones may be cut), else
/// an even division.
std::array<int64_t, 2> blocks_of(const Method& m, const TensorInfo& weight, const TensorInfo& scale,
                                 std::array<int64_t, 2> named) {
  std::array<int64_t, 2> size{};
  for (size_t i = 0; i < 2; ++i) {
    const int64_t whole = weight.shape[i], parts = scale.shape[i];
    if (named[i] > 0 && ceil_divide(whole, named[i]) == parts) {
      size[i] = named[i];
    } else if (parts > 0 && whole % parts == 0) {
      size[i] = std::max<int64_t>(1, whole / parts);
    } else {
      m.wrong_shape(scale,
                    fmt::format("{} cannot be divided into {} blocks", shape_string(weight.shape), parts));
    }
  }
  return size;
}

std::array<int64_t, 2> pair(const Method& m, const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {0, 0};
  const bool right = found->is_array() && found->size() == 2 && (*found)[0].is_number_integer() &&
                     (*found)[1].is_number_integer() && (*found)[0].get<int64_t>() > 0 &&
                     (*found)[1].get<int64_t>() > 0;
  require(right, "{}: quantization_config: '{}' should be two positive numbers", m.where(), key);
  return {(*found)[0].get<int64_t>(), (*found)[1].get<int64_t>()};
}

// FP8 with a scale for each block (DeepSeek, Qwen) or tensor: w = q * weight_scale_inv, in float32
// (transformers' Fp8Dequantize).
Result read_fp8(const Method& m) {
  const std::array<int64_t, 2> named = pair(m, m.config(), "weight_block_size");
  Result result;
  for (const std::string& stem : stems(m.stored(), ".weight_scale_inv")) {
    const TensorInfo& q = m.part(stem, ".weight", {"F8_E4M3", "F8_E5M2"}, 2);
    const TensorInfo& scale = *m.stored().find(stem + ".weight_scale_inv");
    const bool scalar = scale.elements() == 1;
    if (!scalar) m.part(stem, ".weight_scale_inv", kFloats, 2);
    const std::array<int64_t, 2> size =
        scalar ? std::array<int64_t, 2>{std::max<int64_t>(1, q.shape[0]), std::max<int64_t>(1, q.shape[1])}
               : blocks_of(m, q, scale, named);
    DerivedTensor w;
    w.info = {q.name, q.shape, q.encoding + " blocks"};
    w.sources = {q.name, scale.name};
    w.rows = [=, &stored = m.stored(), &q, &scale](int64_t begin, int64_t end, bool) {
      at::Tensor scales = stored.load(scale.name, at::kFloat);
      if (scalar) scales = scales.reshape({1, 1});
      return stored.load_row_range(q.name, begin, end, at::kFloat) *
             spread(scales, size, begin, end, q.shape[1]);
    };
    result.derived.push_back(std::move(w));
  }
  hide(m.stored(), result, {".input_scale", ".activation_scale"});
  return result;
}

/// The bits of a packed weight: the one of the configuration's that gives its width.
int64_t packed_bits(const Method& m, const TensorInfo& packed, int64_t columns,
                    const std::set<int64_t>& candidates) {
  for (const int64_t bits : candidates) {
    if (packed.shape[1] == ceil_divide(columns * bits, 32)) return bits;
  }
  m.wrong_shape(
      packed, fmt::format("{} columns do not give that width with any of the configuration's bits", columns));
}

// compressed-tensors: a quantised weight (naive, int, float), or int32 words of intN + 2^(N-1) (pack); scales
// by tensor, row, group of a row or block; w = (q - z) s in the scale's dtype. What applies to which weight
// is seen from the tensors; the configuration has to agree in its formats.
Result read_compressed(const Method& m) {
  const auto known_format = [&](const json& holder) {
    const auto format = holder.find("format");
    if (format == holder.end() || format->is_null()) return;
    const std::string name = format->is_string() ? format->get<std::string>() : "?";
    for (const char* known : {"dense", "naive-quantized", "int-quantized", "float-quantized",
                              "pack-quantized", "mixed-precision"})
      if (name == known) return;
    fail(
        "{}: quantization_config: the compressed-tensors format '{}' is not supported; known: dense, "
        "naive-quantized, int-quantized, float-quantized, pack-quantized",
        m.where(), printable(name));
  };
  known_format(m.config());
  for (const char* transform : {"transform_config", "sparsity_config"}) {
    const auto found = m.config().find(transform);
    if (found == m.config().end() || found->is_null() || found->empty()) continue;
    const bool plain = found->is_object() && found->value("format", json("dense")) == "dense";
    require(plain && std::string_view(transform) == "sparsity_config",
            "{}: quantization_config: '{}' is not supported", m.where(), transform);
  }
  std::set<int64_t> bits;
  std::array<int64_t, 2> named{};
  const auto groups = m.config().find("config_groups");
  require(groups != m.config().end() && groups->is_object(), "{}: quantization_config has no config_groups",
          m.where());
  for (const json& group : *groups) {
    require(group.is_object(), "{}: quantization_config: a config group is no object", m.where());
    known_format(group);
    const auto weights = group.find("weights");
    if (weights == group.end() || !weights->is_object()) continue;
    const auto count = weights->find("num_bits");
    require(count != weights->end() && count->is_number_integer() && *count >= 1 && *count <= 8 &&
                32 % count->get<int64_t>() == 0,
            "{}: quantization_config: weights of 'num_bits' other than 1, 2, 4 and 8 are not supported",
            m.where());
    bits.insert(count->get<int64_t>());
    if (const auto blocks = pair(m, *weights, "block_structure"); blocks[0] > 0) named = blocks;
  }

  Result result;
  for (const std::string& stem : stems(m.stored(), ".weight_scale")) {
    const TensorInfo& scale = *m.stored().find(stem + ".weight_scale");
    m.part(stem, ".weight_scale", kFloats, scale.shape.size());
    const TensorInfo* packed = m.stored().find(stem + ".weight_packed");
    const TensorInfo* zeros = m.stored().find(stem + ".weight_zero_point");
    const TensorInfo* index = m.stored().find(stem + ".weight_g_idx");
    DerivedTensor w;
    int64_t width = 0;  // bits of a packed weight, 0 for a plain one
    if (packed != nullptr) {
      m.part(stem, ".weight_packed", {"I32"}, 2);
      const TensorInfo& shape = m.part(stem, ".weight_shape", {"I64", "I32"}, 1);
      m.shape(shape, {2});
      const at::Tensor sizes = m.stored().load(shape.name, at::kDouble);
      const auto rows = sizes[0].item<double>(), columns = sizes[1].item<double>();
      if (rows != static_cast<double>(packed->shape[0]) || !(columns >= 1) ||
          columns > 32.0 * static_cast<double>(packed->shape[1]))
        m.wrong_shape(*packed, fmt::format("weight_shape says {} x {}", rows, columns));
      w.info = {stem + ".weight", {packed->shape[0], static_cast<int64_t>(columns)}, ""};
      width = packed_bits(m, *packed, w.info.shape[1], bits);
      w.info.encoding = fmt::format("packed int{}", width);
      w.sources = {packed->name, scale.name, shape.name};
    } else {
      const TensorInfo& q = m.part(stem, ".weight", {"I8", "F8_E4M3", "F8_E5M2"}, 2);
      w.info = {q.name, q.shape, q.encoding + " scaled"};
      w.sources = {q.name, scale.name};
    }
    const int64_t out = w.info.shape[0], in = w.info.shape[1];
    std::vector<int64_t> scale_shape = scale.shape;
    while (scale_shape.size() < 2) scale_shape.push_back(1);
    if (scale_shape.size() > 2) m.wrong_shape(scale, "it should have at most 2 dimensions");
    TensorInfo grid = scale;
    grid.shape = scale_shape;
    const std::array<int64_t, 2> size = blocks_of(m, w.info, grid, named);
    if (zeros != nullptr) {
      w.sources.push_back(zeros->name);
      if (width > 0)
        m.shape(m.part(stem, ".weight_zero_point", {"I32"}, 2),
                {ceil_divide(out * width, 32), scale_shape[1]});
      else if (zeros->elements() != scale.elements())
        m.wrong_shape(*zeros, "it should be that of the scale");
    }
    if (index != nullptr) w.sources.push_back(index->name);
    w.native = m.stored().native_dtype(scale.name);
    w.rows = [=, &stored = m.stored(), &scale, info = w.info, native = w.native](int64_t begin, int64_t end,
                                                                                 bool) {
      const int64_t offset = width > 0 ? int64_t{1} << (width - 1) : 0;
      at::Tensor values;
      if (width > 0) {
        const at::Tensor words = stored.load_row_range(packed->name, begin, end, at::kDouble).to(at::kInt);
        values = unpack(words, width, 1).narrow(1, 0, in).sub(offset).to(at::kFloat);
      } else {
        values = stored.load_row_range(info.name, begin, end, at::kFloat);
      }
      const at::Tensor group = groups_of(stored, index, in, size[1], scale_shape[1]);
      const auto spread_out = [&](const at::Tensor& x) {
        return x.index_select(0, at::arange(begin, end, at::kLong).floor_divide(size[0]))
            .index_select(1, group);
      };
      if (zeros != nullptr) {
        at::Tensor zero;
        if (width > 0) {
          const at::Tensor words = stored.load(zeros->name, at::kDouble).to(at::kInt);
          zero = unpack(words, width, 0).narrow(0, 0, out).sub(offset).to(at::kFloat);
        } else {
          zero = stored.load(zeros->name, at::kFloat).reshape(scale_shape);
        }
        if (width > 0) zero = zero.narrow(0, begin, end - begin).index_select(1, group);  // one a row, always
        values = values - (width > 0 ? zero : spread_out(zero));
      }
      return (values * spread_out(stored.load(scale.name, at::kFloat).reshape(scale_shape)))
          .to(native)
          .to(at::kFloat);
    };
    result.derived.push_back(std::move(w));
  }
  for (const std::string& stem : stems(m.stored(), ".weight_packed")) {
    require(m.stored().find(stem + ".weight_scale") != nullptr,
            "{}: the packed weight {} lacks its weight_scale", m.where(), printable(stem));
  }
  hide(m.stored(), result,
       {".input_scale", ".output_scale", ".input_zero_point", ".output_zero_point", ".k_scale", ".v_scale",
        ".q_scale"});
  return result;
}

/// quant_state.bitsandbytes__nf4 or __fp4: JSON in a uint8 tensor.
json quant_state(const Method& m, const TensorInfo& info) {
  require(info.shape.size() == 1 && info.encoding == "U8" && info.bytes <= 65536,
          "{}: tensor {} should be JSON in a vector of U8", m.where(), printable(info.name));
  const at::Tensor bytes = m.stored().load(info.name, at::kFloat).to(at::kByte);
  const char* text = reinterpret_cast<const char*>(bytes.data_ptr<uint8_t>());
  json state = parse_json<json>({text, static_cast<size_t>(bytes.numel())},
                                fmt::format("{}: tensor {}", m.where(), printable(info.name)));
  require(state.is_object(), "{}: tensor {} is no JSON object", m.where(), printable(info.name));
  return state;
}

// bitsandbytes. int8: weight [out, in] I8, SCB [out]; w = q * SCB * (1/127), float32
// (int8_vectorwise_dequant). 4 bits: weight [out * in / 2, 1] U8, high nibble first; w = quant_map[q] *
// absmax of its block, rounded to the state's dtype; a nested absmax is nested_quant_map[absmax] *
// nested_absmax + nested_offset.
Result read_bitsandbytes(const Method& m) {
  Result result;
  for (const std::string& stem : stems(m.stored(), ".SCB")) {
    const TensorInfo& q = m.part(stem, ".weight", {"I8"}, 2);
    const TensorInfo& scale = m.part(stem, ".SCB", {"F32"}, 1);
    m.shape(scale, {q.shape[0]});
    if (const TensorInfo* format = m.stored().find(stem + ".weight_format")) {
      require(format->elements() == 1 && m.stored().load(format->name, at::kFloat).item<float>() == 0,
              "{}: tensor {} says that the weight is not stored by rows, which is not supported", m.where(),
              printable(format->name));
    }
    DerivedTensor w;
    w.info = {q.name, q.shape, "bitsandbytes int8"};
    w.sources = {q.name, scale.name};
    w.rows = [=, &stored = m.stored(), &q, &scale](int64_t begin, int64_t end, bool) {
      const at::Tensor scales =
          stored.load(scale.name, at::kFloat).narrow(0, begin, end - begin).view({-1, 1});
      return stored.load_row_range(q.name, begin, end, at::kFloat) * scales * 7.874015718698502e-3F;
    };
    result.derived.push_back(std::move(w));
  }
  for (const char* type : {"nf4", "fp4"}) {
    const std::string suffix = fmt::format(".quant_state.bitsandbytes__{}", type);
    for (const std::string& name : stems(m.stored(), suffix)) {  // "...q_proj.weight"
      const TensorInfo& state_info = *m.stored().find(name + suffix);
      const json state = quant_state(m, state_info);
      const auto number = [&](const char* key) {
        const auto found = state.find(key);
        require(found != state.end() && found->is_number_integer() && *found > 0 && *found <= (1 << 20),
                "{}: tensor {}: '{}' should be a positive number", m.where(), printable(state_info.name),
                key);
        return found->get<int64_t>();
      };
      std::vector<int64_t> shape;
      int64_t elements = 1;
      const auto sizes = state.find("shape");
      const bool has_shape =
          sizes != state.end() && sizes->is_array() && !sizes->empty() && sizes->size() <= 4;
      for (const json& size : has_shape ? *sizes : json::array()) {
        require(size.is_number_unsigned() && size.get<uint64_t>() <= (1U << 30) &&
                    !__builtin_mul_overflow(elements, size.get<int64_t>(), &elements),
                "{}: tensor {}: 'shape' is no shape", m.where(), printable(state_info.name));
        shape.push_back(size.get<int64_t>());
      }
      const std::string dtype =
          state.contains("dtype") && state["dtype"].is_string() ? state["dtype"].get<std::string>() : "";
      require(has_shape && (dtype == "bfloat16" || dtype == "float16" || dtype == "float32"),
              "{}: tensor {} lacks a shape or a known dtype", m.where(), printable(state_info.name));
      const TensorInfo* stored_weight = m.stored().find(name);
      require(stored_weight != nullptr && stored_weight->encoding == "U8",
              "{}: the 4-bit weight {} is missing, or stored as another dtype than uint8 "
              "(bnb_4bit_quant_storage), which is not supported",
              m.where(), printable(name));
      const int64_t blocksize = number("blocksize"), blocks = ceil_divide(elements, blocksize);
      if (stored_weight->elements() != ceil_divide(elements, 2))
        m.wrong_shape(*stored_weight, fmt::format("its state says {}", shape_string(shape)));
      const bool nested = m.stored().find(name + ".nested_absmax") != nullptr;
      const TensorInfo& absmax = m.part(name, ".absmax", {"F32", "U8"}, 1);
      const TensorInfo& map = m.part(name, ".quant_map", {"F32"}, 1);
      m.shape(absmax, {blocks});
      m.shape(map, {16});
      require(nested == (absmax.encoding == "U8"), "{}: tensor {} and its nested_absmax do not fit",
              m.where(), printable(absmax.name));
      DerivedTensor w;
      w.info = {name, shape, fmt::format("bitsandbytes {}", type)};
      w.sources = {name, absmax.name, map.name, state_info.name};
      int64_t nested_blocksize = 1;
      float nested_offset = 0;
      if (nested) {
        nested_blocksize = number("nested_blocksize");
        const auto offset = state.find("nested_offset");
        require(offset != state.end() && offset->is_number(), "{}: tensor {} lacks a 'nested_offset'",
                m.where(), printable(state_info.name));
        nested_offset = offset->get<float>();
        m.shape(m.part(name, ".nested_absmax", {"F32"}, 1), {ceil_divide(blocks, nested_blocksize)});
        m.shape(m.part(name, ".nested_quant_map", {"F32"}, 1), {256});
        w.sources.push_back(name + ".nested_absmax");
        w.sources.push_back(name + ".nested_quant_map");
      }
      w.native = dtype == "bfloat16" ? at::kBFloat16 : dtype == "float16" ? at::kHalf : at::kFloat;
      w.rows = [=, &stored = m.stored(), &absmax, &map, native = w.native](int64_t begin, int64_t end, bool) {
        at::Tensor largest;
        if (nested) {
          const at::Tensor codes = stored.load(absmax.name, at::kFloat).to(at::kLong);
          const at::Tensor block = at::arange(blocks, at::kLong).floor_divide(nested_blocksize);
          largest = stored.load(name + ".nested_quant_map", at::kFloat).index_select(0, codes) *
                        stored.load(name + ".nested_absmax", at::kFloat).index_select(0, block) +
                    nested_offset;
        } else {
          largest = stored.load(absmax.name, at::kFloat);
        }
        // Rows as a range of elements; a row of odd length may begin in the middle of a byte.
        const int64_t row = elements / std::max<int64_t>(1, shape[0]),
                      first = shape.size() < 2 ? begin : begin * row,
                      last = shape.size() < 2 ? end : end * row;
        const at::Tensor bytes = stored.load(name, at::kFloat)
                                     .view({-1})
                                     .narrow(0, first / 2, ceil_divide(last, 2) - first / 2)
                                     .to(at::kLong);
        const at::Tensor codes = at::stack({bytes.bitwise_right_shift(4), bytes.bitwise_and(15)}, 1)
                                     .view({-1})
                                     .narrow(0, first % 2, last - first);
        const at::Tensor block = at::arange(first, last, at::kLong).floor_divide(blocksize);
        const at::Tensor values =
            stored.load(map.name, at::kFloat).index_select(0, codes) * largest.index_select(0, block);
        std::vector<int64_t> part = shape;
        part[0] = end - begin;
        return values.view(part).to(native).to(at::kFloat);
      };
      result.derived.push_back(std::move(w));
    }
  }
  hide(m.stored(), result, {".weight_format"});
  return result;
}

/// Blocks [.., 16] of two 4-bit numbers a byte, the low half first, and a scale 2^(byte - 127) for each ->
/// [.., 32].
at::Tensor unpack_mxfp4(const at::Tensor& blocks, const at::Tensor& scales) {
  constexpr float kValues[16] = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                                 -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};
  constexpr int64_t kBytes = 16;
  constexpr int kBias = 127;
  std::vector<int64_t> shape = blocks.sizes().vec();
  shape.back() = 2 * kBytes;
  at::Tensor out = at::empty(shape, at::kFloat);
  const uint8_t *pairs = blocks.const_data_ptr<uint8_t>(), *exponents = scales.const_data_ptr<uint8_t>();
  float* values = out.mutable_data_ptr<float>();
  at::parallel_for(0, scales.numel(), 2048, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const float scale = std::ldexp(1.0F, exponents[block] - kBias);
      for (int64_t i = block * kBytes; i < (block + 1) * kBytes; ++i) {
        values[2 * i] = kValues[pairs[i] & 15] * scale;
        values[2 * i + 1] = kValues[pairs[i] >> 4] * scale;
      }
    }
  });
  return out;
}

// MXFP4 (OCP Microscaling Formats 1.0) as gpt-oss keeps its experts: NAME_blocks [E, out, in / 32, 16] and
// NAME_scales [E, out, in / 32] are NAME [E, in, out] (transformers' convert_moe_packed_tensors).
Result read_mxfp4(const Method& m) {
  Result result;
  for (const std::string& stem : stems(m.stored(), "_blocks")) {
    const TensorInfo& blocks = m.part(stem, "_blocks", {"U8"}, 4);
    const TensorInfo& scales = m.part(stem, "_scales", {"U8"}, 3);
    const std::vector<int64_t>& shape = blocks.shape;
    if (shape[3] != 16) m.wrong_shape(blocks, "its last dimension should be 16");
    m.shape(scales, {shape[0], shape[1], shape[2]});
    DerivedTensor w;
    w.info = {stem, {shape[0], shape[2] * 32, shape[1]}, "MXFP4"};
    w.sources = {blocks.name, scales.name};
    w.native = at::kBFloat16;
    w.rows = [&stored = m.stored(), &blocks, &scales](int64_t begin, int64_t end, bool) {
      return unpack_mxfp4(stored.load_row_range(blocks.name, begin, end, at::kByte),
                          stored.load_row_range(scales.name, begin, end, at::kByte))
          .flatten(2)
          .transpose(1, 2);
    };
    result.derived.push_back(std::move(w));
  }
  return result;
}

constexpr struct {
  const char* name;
  Result (*read)(const Method&);
} kMethods[] = {{"fp8", read_fp8}, {"compressed-tensors", read_compressed}, {"gptq", read_gptq},
                {"awq", read_awq}, {"bitsandbytes", read_bitsandbytes},     {"mxfp4", read_mxfp4}};

}  // namespace

std::unique_ptr<Checkpoint> dequantized(std::unique_ptr<Checkpoint> stored, const std::string& config,
                                        const std::string& where) {
  const json parsed = parse_json<json>(config, where);
  require(parsed.is_object(), "{}: 'quantization_config' should be an object", where);
  const Method method(*stored, parsed, where);
  const std::string name = method.string("quant_method", "");
  for (const auto& known : kMethods) {
    if (name != known.name) continue;
    Result result = known.read(method);
    require(!result.derived.empty(),
            "{}: the configuration says that weights are quantised by '{}', but none is", where, name);
    return std::make_unique<DerivedCheckpoint>(std::move(stored), std::move(result.derived), result.hidden);
  }
  std::vector<std::string> names;
  for (const auto& known : kMethods) names.emplace_back(known.name);
  fail("{}: weights quantised by '{}' are not supported; known: {}. Use the unquantised checkpoint or a GGUF",
       where, name.empty() ? "an unnamed method" : printable(name), fmt::join(names, ", "));
}

}  // namespace outliers::io
