// Quantised weights against their packages: tests/oracle/io_quantized.py.
#include "outliers/io/quantized.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "outliers/io/npz.h"
#include "outliers/io/safetensors.h"

#include "support.h"

namespace outliers::io {
namespace {

using testing::HasSubstr;

std::filesystem::path file(const std::string& name) {
  return tests::golden("io/quantized/" + name);
}

class Quantized : public testing::TestWithParam<const char*> {};

TEST_P(Quantized, EqualsItsPackage) {
  const std::string name = GetParam();
  const auto checkpoint = dequantized(Checkpoint::open(file(name + ".safetensors")),
                                      tests::read_file(file(name + ".json")), name);
  const NpzReader wanted(file(name + ".npz"));
  for (const std::string& tensor : wanted.names()) {
    const at::Tensor values = wanted.read(tensor), loaded = checkpoint->load(tensor, at::kFloat);
    ASSERT_EQ(loaded.sizes(), values.sizes()) << tensor;
    EXPECT_TRUE(at::equal(loaded, values)) << tensor << " differs by up to " << (loaded - values).abs().max();
    checkpoint->prefetch(tensor);
    checkpoint->release(tensor);
    checkpoint->prefetch_row(tensor, 0);
    checkpoint->release_row(tensor, 0);
    if (values.dim() < 2) continue;
    for (int64_t row = 0; row < values.size(0); ++row) {
      EXPECT_TRUE(
          at::equal(checkpoint->load_row_range(tensor, row, row + 1, at::kFloat), values.narrow(0, row, 1)))
          << tensor << " row " << row;
    }
    const at::Tensor some = at::tensor({1, 0, 1}, at::kLong);
    EXPECT_TRUE(at::equal(checkpoint->load_rows(tensor, some, at::kFloat), values.index_select(0, some)))
        << tensor;
    EXPECT_TRUE(at::equal(checkpoint->load(tensor, at::kDouble), values.to(at::kDouble))) << tensor;
  }
  // Scales, zeros and the like are no tensors of the model.
  for (const TensorInfo& info : checkpoint->tensors()) {
    EXPECT_TRUE(wanted.has(info.name) || info.name == "norm.weight") << info.name;
    EXPECT_GT(info.bytes, 0u) << info.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, Quantized,
                         testing::Values("fp8", "compressed_int8_channel", "compressed_int8_asymmetric",
                                         "compressed_float8_tensor", "compressed_float8_block",
                                         "compressed_int4_group", "compressed_int4_asymmetric",
                                         "compressed_int8_packed", "compressed_int2_packed",
                                         "bitsandbytes_nf4", "bitsandbytes_fp4", "bitsandbytes_int8",
                                         "gptq_int4", "gptq_int4_act_order", "gptq_int8_v2", "gptq_int2",
                                         "awq", "mxfp4"),
                         [](const auto& test) { return std::string(test.param); });

std::string refused(const std::string& tensors, const std::string& config) {
  return tests::error_of(
      [&] { dequantized(Checkpoint::open(file(tensors + ".safetensors")), config, "config.json"); });
}

TEST(QuantizedRefusals, NameTheMethod) {
  EXPECT_THAT(refused("awq", R"({"quant_method": "hqq"})"),
              HasSubstr("quantised by 'hqq' are not supported; known: fp8"));
  EXPECT_THAT(refused("awq", "{}"), HasSubstr("an unnamed method"));
  EXPECT_THAT(refused("awq", "3"), HasSubstr("should be an object"));
  EXPECT_THAT(refused("awq", R"({"quant_method": 3})"), HasSubstr("'quant_method' should be a string"));
  EXPECT_THAT(refused("awq", R"({"quant_method": "bitsandbytes"})"), HasSubstr("but none is"));
  EXPECT_THAT(refused("awq", R"({"quant_method": "awq", "version": "gemv"})"),
              HasSubstr("the version 'gemv'"));
  EXPECT_THAT(refused("awq", R"({"quant_method": "awq", "bits": 3})"), HasSubstr("AWQ with 3 bits"));
  EXPECT_THAT(refused("gptq_int4", R"({"quant_method": "gptq", "bits": 3})"), HasSubstr("GPTQ with 3 bits"));
  EXPECT_THAT(refused("gptq_int4", R"({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"})"),
              HasSubstr("the checkpoint_format 'marlin'"));
  EXPECT_THAT(refused("compressed_int4_group",
                      R"({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"})"),
              HasSubstr("format 'nvfp4-pack-quantized'"));
  EXPECT_THAT(refused("compressed_int4_group",
                      R"({"quant_method": "compressed-tensors", "transform_config": {"a": 1}})"),
              HasSubstr("'transform_config'"));
  EXPECT_THAT(refused("compressed_int4_group", R"({"quant_method": "compressed-tensors"})"),
              HasSubstr("no config_groups"));
  EXPECT_THAT(
      refused(
          "compressed_int4_group",
          R"({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 3}}}})"),
      HasSubstr("'num_bits'"));
}

TEST(QuantizedRefusals, PartsThatDoNotFit) {
  EXPECT_THAT(refused("mxfp4", R"({"quant_method": "fp8"})"), HasSubstr("but none is"));
  EXPECT_THAT(refused("gptq_int4", R"({"quant_method": "gptq", "bits": 8, "group_size": 8})"),
              HasSubstr("m.scales has shape [4, 16]"));
  EXPECT_THAT(refused("awq", R"({"quant_method": "awq", "group_size": 8})"),
              HasSubstr("m.scales has shape [2, 24]"));
  EXPECT_THAT(
      refused("gptq_int4", R"({"quant_method": "gptq", "bits": 4, "group_size": 9223372036854775807})"),
      HasSubstr("m.scales has shape [4, 16]"));
  EXPECT_THAT(
      refused(
          "compressed_int4_group",
          R"({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 8}}}})"),
      HasSubstr("m.weight_packed has shape"));

  tests::ScratchDirectory scratch;
  const auto write = [&](const std::vector<TensorPlan>& plan) {
    std::filesystem::remove(scratch / "a.safetensors");
    SafetensorsWriter writer(scratch / "a.safetensors", true, plan);
    for (const TensorPlan& t : plan) writer.add(t.name, at::full(t.shape, 1000, t.dtype));
    writer.commit();
    return Checkpoint::open(scratch / "a.safetensors");
  };
  const std::string gptq = R"({"quant_method": "gptq", "bits": 4})";
  EXPECT_THAT(tests::error_of([&] {
                dequantized(write({{"a.qweight", {1, 8}, at::kInt}}), gptq, "c");
              }),
              HasSubstr("a lacks its tensor scales"));
  EXPECT_THAT(
      tests::error_of([&] {
        dequantized(write({{"a.qweight", {1, 8}, at::kInt}, {"a.scales", {8}, at::kHalf}}), gptq, "c");
      }),
      HasSubstr("a.scales is F16 of shape [8]"));
  // Groups that are not there show when the weight is loaded.
  const auto loose = dequantized(write({{"a.g_idx", {8}, at::kInt},
                                        {"a.qweight", {1, 8}, at::kInt},
                                        {"a.qzeros", {1, 1}, at::kInt},
                                        {"a.scales", {1, 8}, at::kHalf}}),
                                 gptq, "c");
  EXPECT_THAT(tests::error_of([&] { loose->load("a.weight", at::kFloat); }),
              HasSubstr("a.g_idx names groups"));
  // The writer has no bytes, so the file is put together here.
  const auto packed = [&](const std::string& blocks, size_t block_bytes, const std::string& scales,
                          size_t scale_bytes) {
    const size_t end = block_bytes + scale_bytes;
    const std::string header =
        fmt::format(R"({{"a_blocks":{{"dtype":"U8","shape":{},"data_offsets":[0,{}]}},)"
                    R"("a_scales":{{"dtype":"U8","shape":{},"data_offsets":[{},{}]}}}})",
                    blocks, block_bytes, scales, block_bytes, end);
    const uint64_t length = header.size();
    std::string file(reinterpret_cast<const char*>(&length), sizeof length);
    tests::write_file(scratch / "packed.safetensors", file + header + std::string(end, '\1'));
    return tests::error_of([&] {
      dequantized(Checkpoint::open(scratch / "packed.safetensors"), R"({"quant_method": "mxfp4"})", "c");
    });
  };
  EXPECT_THAT(packed("[2,4,1,8]", 64, "[2,4,1]", 8), HasSubstr("its last dimension should be 16"));
  EXPECT_THAT(packed("[2,4,1,16]", 128, "[2,4,2]", 16), HasSubstr("it should be [2, 4, 1]"));
  EXPECT_THAT(packed("[2,4,16]", 128, "[2,4]", 8), HasSubstr("of 4 dimensions"));
  EXPECT_THAT(tests::error_of([&] {
                dequantized(write({{"a.weight", {4, 4}, at::kInt}, {"a.SCB", {4}, at::kFloat}}),
                            R"({"quant_method": "bitsandbytes"})", "c");
              }),
              HasSubstr("a.weight is I32"));
  EXPECT_THAT(tests::error_of([&] {
                dequantized(write({{"a.weight.quant_state.bitsandbytes__nf4", {4}, at::kFloat}}),
                            R"({"quant_method": "bitsandbytes"})", "c");
              }),
              HasSubstr("should be JSON"));
}

}  // namespace
}  // namespace outliers::io
