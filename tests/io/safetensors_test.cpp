#include "outliers/io/safetensors.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "outliers/core/error.h"

#include "support.h"

namespace outliers::io {
namespace {

using testing::HasSubstr;

std::string file_of(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

class SafetensorsTest : public testing::Test {
 protected:
  std::string refused(const std::string& bytes) {
    tests::write_file(scratch_ / "bad.safetensors", bytes);
    return tests::error_of([&] { Checkpoint::open(scratch_ / "bad.safetensors"); });
  }
  std::string refused_index(const std::string& text) {
    tests::write_file(scratch_ / "model.safetensors.index.json", text);
    return tests::error_of([&] { Checkpoint::open(scratch_.path()); });
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(SafetensorsTest, RoundTripOfEveryWrittenDtype) {
  const std::vector<at::ScalarType> dtypes = {at::kFloat,  at::kHalf, at::kBFloat16,
                                              at::kDouble, at::kLong, at::kInt};
  std::vector<TensorPlan> plan;
  std::vector<at::Tensor> tensors;
  for (const at::ScalarType dtype : dtypes) {
    tensors.push_back((at::randn({3, 4}) * 10).to(dtype));
    plan.push_back({at::toString(dtype), {3, 4}, dtype});
  }
  SafetensorsWriter writer(scratch_ / "a.safetensors", false, plan, {{"format", "pt"}});
  for (size_t i = 0; i < plan.size(); ++i) writer.add(plan[i].name, tensors[i]);
  writer.commit();
  const auto checkpoint = Checkpoint::open(scratch_ / "a.safetensors");
  ASSERT_EQ(checkpoint->tensors().size(), plan.size());
  for (size_t i = 0; i < plan.size(); ++i) {
    EXPECT_TRUE(at::equal(checkpoint->load(plan[i].name, at::kDouble), tensors[i].to(at::kDouble)))
        << plan[i].name;
    EXPECT_TRUE(at::equal(checkpoint->load(plan[i].name, at::kFloat), tensors[i].to(at::kFloat)))
        << plan[i].name;
    EXPECT_TRUE(at::equal(checkpoint->load_row_range(plan[i].name, 1, 3, at::kFloat),
                          tensors[i].narrow(0, 1, 2).to(at::kFloat)));
  }
  EXPECT_EQ(checkpoint->native_dtype("Half"), at::kHalf);
}

TEST_F(SafetensorsTest, WriterHoldsItsPlan) {
  SafetensorsWriter writer(scratch_ / "a.safetensors", false,
                           {{"a", {2}, at::kFloat}, {"b", {2}, at::kFloat}});
  EXPECT_THROW(writer.add("b", at::zeros({2})), Error);
  EXPECT_THROW(writer.add("a", at::zeros({3})), Error);
  EXPECT_THROW(writer.add("a", at::zeros({2}, at::kDouble)), Error);
  writer.add("a", at::zeros({2}));
  EXPECT_THROW(writer.commit(), Error);
}

TEST_F(SafetensorsTest, OtherDtypes) {
  const std::string data("\x01\x00\xff\x80\x01\x00\x00\x00\x02\x00\x00\x00\xff\xff", 14);
  tests::write_file(
      scratch_ / "a.safetensors",
      file_of(
          R"({"b":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]},"i":{"dtype":"I8","shape":[2],"data_offsets":[2,4]},)"
          R"("u":{"dtype":"U32","shape":[2,1],"data_offsets":[4,12]},"s":{"dtype":"U16","shape":[1],"data_offsets":[12,14]}})",
          data));
  const auto checkpoint = Checkpoint::open(scratch_ / "a.safetensors");
  EXPECT_TRUE(at::equal(checkpoint->load("b", at::kFloat), at::tensor({1.0F, 0.0F})));
  EXPECT_TRUE(at::equal(checkpoint->load("i", at::kFloat), at::tensor({-1.0F, -128.0F})));
  EXPECT_TRUE(at::equal(checkpoint->load("u", at::kFloat), at::tensor({1.0F, 2.0F}).view({2, 1})));
  EXPECT_TRUE(at::equal(checkpoint->load("s", at::kFloat), at::tensor({65535.0F})));
}

TEST_F(SafetensorsTest, RefusesWrongFiles) {
  const std::string data(8, '\0');
  const auto entry = [](const char* fields) {
    return file_of(fmt::format("{{\"t\":{}}}", fields), std::string(8, '\0'));
  };
  EXPECT_THAT(refused("abc"), HasSubstr("too few"));
  EXPECT_THAT(refused(std::string(8, '\xff') + "{}"), HasSubstr("no safetensors file"));
  EXPECT_THAT(refused(std::string("\x50\0\0\0\0\0\0\0", 8) + "{}"), HasSubstr("ends inside its header"));
  EXPECT_THAT(refused(file_of("{\"a\":", "")),
              HasSubstr("the header of a safetensors file: this is not valid JSON"));
  EXPECT_THAT(refused(file_of("[1]", "")), HasSubstr("no JSON object"));
  EXPECT_THAT(refused(file_of("{\"\xff\":1}", "")),
              HasSubstr("the header of a safetensors file: this is not valid JSON"));
  EXPECT_THAT(refused(file_of(std::string(100000, '['), "")),
              HasSubstr("the header of a safetensors file: this is not valid JSON"));
  EXPECT_THAT(refused(entry("3")), HasSubstr("no valid entry"));
  EXPECT_THAT(refused(entry(R"({"shape":[2],"data_offsets":[0,8]})")), HasSubstr("no valid dtype"));
  EXPECT_THAT(refused(entry(R"({"dtype":"F31","shape":[2],"data_offsets":[0,8]})")),
              HasSubstr("unknown dtype F31"));
  EXPECT_THAT(refused(entry(R"({"dtype":"Q4_K","shape":[256],"data_offsets":[0,8]})")),
              HasSubstr("unknown dtype Q4_K"));
  EXPECT_THAT(refused(entry(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})")),
              HasSubstr("no valid shape"));
  EXPECT_THAT(refused(entry(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})")),
              HasSubstr("overflows"));
  EXPECT_THAT(refused(entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})")),
              HasSubstr("has 8 bytes"));
  EXPECT_THAT(refused(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})")),
              HasSubstr("lies at bytes 8 to 0"));
  EXPECT_THAT(refused(entry(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})")), HasSubstr("cut short"));
  EXPECT_THAT(refused(entry(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})")),
              HasSubstr("4 bytes follow"));
  EXPECT_THAT(refused(entry(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})")),
              HasSubstr("unused bytes"));
  EXPECT_THAT(
      refused(file_of(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
          data)),
      HasSubstr("overlaps"));
  EXPECT_THAT(
      refused(file_of(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
          data)),
      HasSubstr("a occurs twice"));
}

TEST_F(SafetensorsTest, MetadataThatNobodyNeeds) {
  const std::string data(8, '\0'),
      header =
          R"({"__metadata__":{"a":NaN,"b":1e400,"c":[-Infinity,1000000000000000000000000000000],"a":"twice"},)"
          R"("t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  tests::write_file(scratch_ / "m.safetensors", file_of(header, data));
  EXPECT_EQ(Checkpoint::open(scratch_ / "m.safetensors")->tensors().size(), 1u);
  EXPECT_THAT(refused(file_of(R"({"t":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,8]}})", data)),
              HasSubstr("tensor t has no valid shape"));
}

TEST_F(SafetensorsTest, IndexFieldsThatNobodyNeeds) {
  SafetensorsWriter writer(scratch_ / "a.safetensors", false, {{"a", {2}, at::kFloat}});
  writer.add("a", at::ones({2}));
  writer.commit();
  const auto index = scratch_ / "model.safetensors.index.json";
  tests::write_file(index, R"({"metadata": {"total_size": 1000000000000000000000000000000, "x": NaN},
                               "weight_map": {"a": "b.safetensors", "a": "a.safetensors"}})");
  EXPECT_EQ(Checkpoint::open(index)->tensors().size(), 1u);
  tests::write_file(index, "{\n\"weight_map\": {\"a\": Nan}}");
  EXPECT_THAT(tests::error_of([&] { Checkpoint::open(index); }),
              HasSubstr("model.safetensors.index.json: this is not valid JSON: line 2, column 21"));
}

TEST_F(SafetensorsTest, Shards) {
  for (const char* name : {"a", "b"}) {
    SafetensorsWriter writer(scratch_ / fmt::format("{}.safetensors", name), false,
                             {{name, {2}, at::kFloat}});
    writer.add(name, at::full({2}, name[0] == 'a' ? 1.0 : 2.0));
    writer.commit();
  }
  tests::write_file(scratch_ / "model.safetensors.index.json",
                    R"({"weight_map":{"a":"a.safetensors","b":"b.safetensors"}})");
  const auto checkpoint = Checkpoint::open(scratch_.path());
  EXPECT_TRUE(at::equal(checkpoint->load("a", at::kFloat), at::ones({2})));
  EXPECT_TRUE(at::equal(checkpoint->load("b", at::kFloat), at::full({2}, 2.0)));
  EXPECT_THAT(refused_index(R"({"weight_map":{"a":"c.safetensors"}})"),
              HasSubstr("c.safetensors is missing"));
  EXPECT_THAT(refused_index(R"({"weight_map":{"z":"a.safetensors"}})"),
              HasSubstr("says that tensor z is in it"));
  EXPECT_THAT(refused_index(R"({"weight_map":{"a":"../a.safetensors"}})"), HasSubstr("not beside the index"));
  EXPECT_THAT(refused_index(R"({"weight_map":{}})"), HasSubstr("empty"));
  EXPECT_THAT(refused_index("{}"), HasSubstr("no weight_map"));
}

TEST_F(SafetensorsTest, OpenSaysWhatIsMissing) {
  EXPECT_THAT(tests::error_of([&] { Checkpoint::open(scratch_ / "none"); }), HasSubstr("no such file"));
  EXPECT_THAT(tests::error_of([&] { Checkpoint::open(scratch_.path()); }), HasSubstr("holds no checkpoint"));
  tests::write_file(scratch_ / "m.bin", "abc");
  EXPECT_THAT(tests::error_of([&] { Checkpoint::open(scratch_ / "m.bin"); }),
              HasSubstr("no file of torch.save"));
}

TEST_F(SafetensorsTest, DamagedFiles) {
  SafetensorsWriter writer(scratch_ / "a.safetensors", false,
                           {{"a", {2, 3}, at::kFloat}, {"b", {2}, at::kLong}});
  writer.add("a", at::randn({2, 3}));
  writer.add("b", at::ones({2}, at::kLong));
  writer.commit();
  const std::string whole = tests::read_file(scratch_ / "a.safetensors");
  int refusals = 0;
  const auto attempt = [&](const std::string& bytes) {
    tests::write_file(scratch_ / "b.safetensors", bytes);
    try {
      const auto checkpoint = Checkpoint::open(scratch_ / "b.safetensors");
      for (const TensorInfo& info : checkpoint->tensors()) checkpoint->load(info.name, at::kFloat);
    } catch (const Error&) {
      ++refusals;
    }
  };
  for (size_t size = 0; size < whole.size(); ++size) attempt(whole.substr(0, size));
  std::mt19937 random(3);
  for (int i = 0; i < 1500; ++i) {
    std::string bytes = whole;
    for (int k = 0; k < 2; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    attempt(bytes);
  }
  EXPECT_GT(refusals, 800);
}

}  // namespace
}  // namespace outliers::io
