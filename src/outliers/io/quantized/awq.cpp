#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/io/quantized/method.h"

namespace outliers::io::quantized {

// AWQ's GEMM layout. qweight [in, out / 8], qzeros [G, out / 8], scales [G, out], 4 bits; w = s (q - z).
// Nibble k of a word is output 0, 2, 4, 6, 1, 3, 5, 7 of its eight (AutoAWQ's AWQ_ORDER).
Weights read_awq(const Method& m) {
  m.only("version", "gemm", {"gemm", "GEMM", "exllama", "ipex"});
  const int64_t bits = m.integer("bits", m.integer("w_bit", 4));
  require(bits == 4, kUnsupported, "{}: quantization_config: AWQ with {} bits is not supported; known: 4",
          m.where(), bits);
  const int64_t group_option = m.integer("group_size", m.integer("q_group_size", 128));
  // Where output j of eight stands.
  const at::Tensor place = at::tensor({0, 4, 1, 5, 2, 6, 3, 7}, at::kLong);
  const auto values_of = [place](const at::Tensor& words) {  // [n, out / 8] -> [n, out]
    return unpack(words, 4, 1)
        .view({words.size(0), -1, 8})
        .index_select(2, place)
        .reshape({words.size(0), -1});
  };
  Weights result;
  for (const std::string& stem : m.stems(".qweight")) {
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

}  // namespace outliers::io::quantized
