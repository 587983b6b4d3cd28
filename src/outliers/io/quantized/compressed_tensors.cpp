#include <set>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/io/quantized/method.h"

namespace outliers::io::quantized {
namespace {

/// Throws where `holder` (the configuration, or a group of it) names a format that is not known.
void check_format(const Method& m, const json& holder) {
  const auto format = holder.find("format");
  if (format == holder.end() || format->is_null()) return;
  const std::string name = format->is_string() ? format->get<std::string>() : "?";
  for (const char* known :
       {"dense", "naive-quantized", "int-quantized", "float-quantized", "pack-quantized", "mixed-precision"})
    if (name == known) return;
  fail(kUnsupported,
       "{}: quantization_config: the compressed-tensors format '{}' is not supported; known: dense, "
       "naive-quantized, int-quantized, float-quantized, pack-quantized",
       m.where(), printable(name));
}

/// What the configuration says of the weights; which weight it says it of is seen from the tensors.
struct Configured {
  std::set<int64_t> bits;             // of the packed ones
  std::array<int64_t, 2> block_size;  // zeros where none is named
};

Configured read_configuration(const Method& m) {
  check_format(m, m.config());
  for (const char* transform : {"transform_config", "sparsity_config"}) {
    const auto found = m.config().find(transform);
    if (found == m.config().end() || found->is_null() || found->empty()) continue;
    const bool plain = found->is_object() && found->value("format", json("dense")) == "dense";
    require(plain && std::string_view(transform) == "sparsity_config", kUnsupported,
            "{}: quantization_config: '{}' is not supported", m.where(), transform);
  }
  Configured configured{};
  const auto groups = m.config().find("config_groups");
  require(groups != m.config().end() && groups->is_object(), "{}: quantization_config has no config_groups",
          m.where());
  for (const json& group : *groups) {
    require(group.is_object(), "{}: quantization_config: a config group is no object", m.where());
    check_format(m, group);
    const auto weights = group.find("weights");
    if (weights == group.end() || !weights->is_object()) continue;
    const auto count = weights->find("num_bits");
    require(count != weights->end() && count->is_number_integer() && *count >= 1 && *count <= 8 &&
                32 % count->get<int64_t>() == 0,
            kUnsupported,
            "{}: quantization_config: weights of 'num_bits' other than 1, 2, 4 and 8 are not supported",
            m.where());
    configured.bits.insert(count->get<int64_t>());
    if (const auto blocks = m.pair(*weights, "block_structure"); blocks[0] > 0)
      configured.block_size = blocks;
  }
  return configured;
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

}  // namespace

// compressed-tensors: a quantised weight (naive, int, float), or int32 words of intN + 2^(N-1) (pack); scales
// by tensor, row, group of a row or block; w = (q - z) s in the scale's dtype. What applies to which weight
// is seen from the tensors; the configuration has to agree in its formats.
Weights read_compressed_tensors(const Method& m) {
  const Configured configured = read_configuration(m);
  Weights result;
  for (const std::string& stem : m.stems(".weight_scale")) {
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
      width = packed_bits(m, *packed, w.info.shape[1], configured.bits);
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
    const std::array<int64_t, 2> size = m.blocks(w.info, grid, configured.block_size);
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
  for (const std::string& stem : m.stems(".weight_packed")) {
    require(m.stored().find(stem + ".weight_scale") != nullptr,
            "{}: the packed weight {} lacks its weight_scale", m.where(), printable(stem));
  }
  result.hide(m, {".input_scale", ".output_scale", ".input_zero_point", ".output_zero_point", ".k_scale",
                  ".v_scale", ".q_scale"});
  return result;
}

}  // namespace outliers::io::quantized
