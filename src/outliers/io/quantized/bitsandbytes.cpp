#include <algorithm>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/json.h"
#include "outliers/core/shape.h"
#include "outliers/io/quantized/method.h"

namespace outliers::io::quantized {
namespace {

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

// weight [out, in] I8, SCB [out]; w = q * SCB * (1/127), float32 (bitsandbytes' int8_vectorwise_dequant).
void read_int8(const Method& m, Weights& result) {
  for (const std::string& stem : m.stems(".SCB")) {
    const TensorInfo& q = m.part(stem, ".weight", {"I8"}, 2);
    const TensorInfo& scale = m.part(stem, ".SCB", {"F32"}, 1);
    m.shape(scale, {q.shape[0]});
    if (const TensorInfo* format = m.stored().find(stem + ".weight_format")) {
      require(format->elements() == 1 && m.stored().load(format->name, at::kFloat).item<float>() == 0,
              kUnsupported,
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
}

// weight [out * in / 2, 1] U8, high nibble first; w = quant_map[q] * absmax of its block, rounded to the
// state's dtype; a nested absmax is nested_quant_map[absmax] * nested_absmax + nested_offset.
void read_4bit(const Method& m, const char* type, Weights& result) {
  const std::string suffix = fmt::format(".quant_state.bitsandbytes__{}", type);
  for (const std::string& name : m.stems(suffix)) {  // "...q_proj.weight"
    const TensorInfo& state_info = *m.stored().find(name + suffix);
    const json state = quant_state(m, state_info);
    const auto number = [&](const char* key) {
      const auto found = state.find(key);
      require(found != state.end() && found->is_number_integer() && *found > 0 && *found <= (1 << 20),
              "{}: tensor {}: '{}' should be a positive number", m.where(), printable(state_info.name), key);
      return found->get<int64_t>();
    };
    std::vector<int64_t> shape;
    int64_t elements = 1;
    const auto sizes = state.find("shape");
    const bool has_shape = sizes != state.end() && sizes->is_array() && !sizes->empty() && sizes->size() <= 4;
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
    require(nested == (absmax.encoding == "U8"), "{}: tensor {} and its nested_absmax do not fit", m.where(),
            printable(absmax.name));
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
                    first = shape.size() < 2 ? begin : begin * row, last = shape.size() < 2 ? end : end * row;
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

}  // namespace

Weights read_bitsandbytes(const Method& m) {
  Weights result;
  read_int8(m, result);
  read_4bit(m, "nf4", result);
  read_4bit(m, "fp4", result);
  result.hide(m, {".weight_format"});
  return result;
}

}  // namespace outliers::io::quantized
