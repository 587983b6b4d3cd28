#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/io/quantized/method.h"

namespace outliers::io::quantized {

// GPTQ. qweight [in * bits / 32, out], qzeros [G, out * bits / 32], scales [G, out], g_idx [in]; w = s (q -
// z). Format 1 stores z - 1 (all of a word's zeros at once: GPTQModel's convert_gptq_v1_to_v2_format).
Weights read_gptq(const Method& m) {
  m.only("checkpoint_format", m.string("format", "gptq"), {"gptq", "gptq_v2"});
  const int64_t bits = m.integer("bits", 0), group_option = m.integer("group_size", -1);
  require(bits == 2 || bits == 4 || bits == 8, kUnsupported,
          "{}: quantization_config: GPTQ with {} bits is not supported; known: 2, 4, 8", m.where(), bits);
  const bool first_format = m.string("checkpoint_format", m.string("format", "gptq")) == "gptq";
  const int64_t per_word = 32 / bits;
  Weights result;
  for (const std::string& stem : m.stems(".qweight")) {
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

}  // namespace outliers::io::quantized
