#include "outliers/io/gguf.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "outliers/core/error.h"

#include "support.h"

namespace outliers::io {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

// Builds GGUF files byte by byte, right ones and wrong ones.
struct Builder {
  std::string keys, infos, data;
  uint64_t key_count = 0, tensor_count = 0;
  uint32_t version = 3;

  template <typename T>
  static void put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static void put_string(std::string& out, const std::string& text) {
    put<uint64_t>(out, text.size());
    out += text;
  }
  template <typename T>
  Builder& key(const std::string& name, GgufType type, T value) {
    put_string(keys, name);
    put(keys, static_cast<uint32_t>(type));
    put(keys, value);
    ++key_count;
    return *this;
  }
  Builder& text(const std::string& name, const std::string& value) {
    put_string(keys, name);
    put(keys, static_cast<uint32_t>(GgufType::string));
    put_string(keys, value);
    ++key_count;
    return *this;
  }
  Builder& texts(const std::string& name, const std::vector<std::string>& values) {
    put_string(keys, name);
    put(keys, static_cast<uint32_t>(GgufType::array));
    put(keys, static_cast<uint32_t>(GgufType::string));
    put<uint64_t>(keys, values.size());
    for (const std::string& value : values) put_string(keys, value);
    ++key_count;
    return *this;
  }
  Builder& tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type,
                  uint64_t offset) {
    put_string(infos, name);
    put<uint32_t>(infos, static_cast<uint32_t>(dims.size()));
    for (const uint64_t d : dims) put(infos, d);
    put(infos, type);
    put(infos, offset);
    ++tensor_count;
    return *this;
  }
  std::string bytes() const {
    std::string out = "GGUF";
    put(out, version);
    put(out, tensor_count);
    put(out, key_count);
    out += keys + infos;
    out.resize((out.size() + 31) / 32 * 32);
    return out + data;
  }
};

Builder valid() {
  Builder b;
  b.text("general.architecture", "llama").key("llama.block_count", GgufType::u32, uint32_t{3});
  b.key("llama.rope.freq_base", GgufType::f32, 500000.0F).key("flag", GgufType::boolean, uint8_t{1});
  b.texts("tokens", {"a", "", "bc"});
  b.tensor("w", {4, 2}, 0, 0).tensor("q", {32, 1}, 2, 32);
  for (int i = 0; i < 8; ++i) Builder::put(b.data, static_cast<float>(i));
  b.data += std::string("\x00\x3c", 2) + std::string(16, '\x98');  // one Q4_0 block, d = 1
  return b;
}

class GgufTest : public testing::Test {
 protected:
  std::string refused(const Builder& b) { return refused(b.bytes()); }
  std::string refused(const std::string& bytes) {
    tests::write_file(scratch_ / "bad.gguf", bytes);
    return tests::error_of([&] { open_gguf(scratch_ / "bad.gguf"); });
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(GgufTest, ReadsMetadataAndTensors) {
  for (const uint32_t version : {2U, 3U}) {
    Builder b = valid();
    b.version = version;
    tests::write_file(scratch_ / "a.gguf", b.bytes());
    const auto checkpoint = Checkpoint::open(scratch_ / "a.gguf");
    const GgufMetadata& m = *checkpoint->metadata();
    EXPECT_EQ(m.string("general.architecture"), "llama");
    EXPECT_EQ(m.integer("llama.block_count"), 3);
    EXPECT_EQ(m.number("llama.rope.freq_base"), 500000.0);
    EXPECT_EQ(m.number("llama.block_count"), 3.0);
    EXPECT_EQ(m.boolean("flag"), true);
    EXPECT_EQ(m.strings("tokens"), (std::vector<std::string_view>{"a", "", "bc"}));
    EXPECT_FALSE(m.integer("missing").has_value());
    EXPECT_THAT(tests::error_of([&] { m.integer("general.architecture"); }),
                HasSubstr("general.architecture should be an integer"));
    EXPECT_THAT(tests::error_of([&] { m.string("tokens"); }), HasSubstr("tokens should be a string"));

    ASSERT_EQ(checkpoint->tensors().size(), 2u);
    EXPECT_EQ(checkpoint->tensors()[0].shape, (std::vector<int64_t>{2, 4}));
    EXPECT_TRUE(at::equal(checkpoint->load("w", at::kFloat), at::arange(8, at::kFloat).view({2, 4})));
    EXPECT_TRUE(at::equal(checkpoint->load("w", at::kBFloat16), at::arange(8, at::kBFloat16).view({2, 4})));
    EXPECT_TRUE(at::equal(checkpoint->load_row_range("w", 1, 2, at::kFloat),
                          at::arange(4, 8, at::kFloat).view({1, 4})));
    EXPECT_TRUE(
        at::equal(checkpoint->load_rows("w", at::tensor({1, 0, 1}, at::kLong), at::kFloat),
                  at::arange(8, at::kFloat).view({2, 4}).index_select(0, at::tensor({1, 0, 1}, at::kLong))));
    EXPECT_TRUE(
        at::equal(checkpoint->load("q", at::kFloat), at::cat({at::zeros({1, 16}), at::ones({1, 16})}, 1)));
    EXPECT_EQ(checkpoint->native_dtype("q"), at::kFloat);
    EXPECT_THAT(tests::error_of([&] { checkpoint->load("v", at::kFloat); }), HasSubstr("no tensor v"));
  }
}

TEST_F(GgufTest, RefusesWrongHeaders) {
  EXPECT_THAT(refused(std::string("GGUX") + std::string(40, '\0')), HasSubstr("is no GGUF file"));
  Builder b = valid();
  b.version = 1;
  EXPECT_THAT(refused(b), HasSubstr("GGUF version 1"));
  b.version = 0x03000000;
  EXPECT_THAT(refused(b), HasSubstr("big-endian"));
  b = valid();
  b.tensor_count = uint64_t{1} << 60;
  EXPECT_THAT(refused(b), HasSubstr("more than the file can hold"));
  b = valid();
  b.key_count = uint64_t{1} << 60;
  EXPECT_THAT(refused(b), HasSubstr("more than the file can hold"));
}

TEST_F(GgufTest, RefusesWrongMetadata) {
  EXPECT_THAT(refused(valid().key("x", static_cast<GgufType>(77), uint8_t{0})), HasSubstr("unknown type 77"));
  EXPECT_THAT(refused(valid().text("flag", "again")), HasSubstr("flag occurs twice"));
  EXPECT_THAT(refused(valid().key("general.alignment", GgufType::u32, uint32_t{7})),
              HasSubstr("general.alignment is 7"));
  EXPECT_THAT(refused(valid().key("general.alignment", GgufType::u32, uint32_t{0})),
              HasSubstr("general.alignment is 0"));
  EXPECT_THAT(refused(valid().key("split.count", GgufType::u16, uint16_t{4})),
              HasSubstr("one of 4 parts, but is not called NAME-00001-of-00004.gguf"));
  EXPECT_THAT(refused(valid().text("general.type", "adapter")), HasSubstr("is a LoRA adapter"));
  Builder nested = valid();
  Builder::put_string(nested.keys, "deep");
  for (int i = 0; i < 2; ++i) Builder::put(nested.keys, static_cast<uint32_t>(GgufType::array));
  ++nested.key_count;
  EXPECT_THAT(refused(nested), HasSubstr("array of arrays"));
  Builder huge = valid();
  Builder::put_string(huge.keys, "long");
  Builder::put(huge.keys, static_cast<uint32_t>(GgufType::array));
  Builder::put(huge.keys, static_cast<uint32_t>(GgufType::u64));
  Builder::put(huge.keys, ~uint64_t{0});
  ++huge.key_count;
  EXPECT_THAT(refused(huge), HasSubstr("more than the file can hold"));
  Builder string = valid();
  Builder::put_string(string.keys, "s");
  Builder::put(string.keys, static_cast<uint32_t>(GgufType::string));
  Builder::put(string.keys, ~uint64_t{0});
  ++string.key_count;
  EXPECT_THAT(refused(string), HasSubstr("more than the file has"));
}

TEST_F(GgufTest, RefusesWrongTensors) {
  EXPECT_THAT(refused(valid().tensor("far", {4}, 0, 1 << 20)), HasSubstr("tensor far reaches past the end"));
  EXPECT_THAT(refused(valid().tensor("far", {4}, 0, ~uint64_t{31})),
              HasSubstr("tensor far reaches past the end"));
  EXPECT_THAT(refused(valid().tensor("odd", {4}, 0, 7)), HasSubstr("no multiple of 32"));
  EXPECT_THAT(refused(valid().tensor("over", {4}, 0, 0)), HasSubstr("overlap"));
  EXPECT_THAT(refused(valid().tensor("big", {uint64_t{1} << 40, uint64_t{1} << 40}, 0, 64)),
              HasSubstr("overflows"));
  EXPECT_THAT(refused(valid().tensor("neg", {~uint64_t{0}}, 0, 64)), HasSubstr("overflows"));
  EXPECT_THAT(refused(valid().tensor("dims", {1, 1, 1, 1, 1}, 0, 64)), HasSubstr("5 dimensions"));
  EXPECT_THAT(refused(valid().tensor("type", {4}, 1000, 64)), HasSubstr("unknown type 1000"));
  EXPECT_THAT(refused(valid().tensor("iq", {256}, 16, 64)), HasSubstr("IQ2_XXS"));
  EXPECT_THAT(refused(valid().tensor("block", {33}, 2, 64)), HasSubstr("blocks of 32"));
  EXPECT_THAT(refused(valid().tensor("", {1}, 0, 64)), HasSubstr("no name"));
  Builder twice = valid();
  twice.tensor("w", {1}, 0, 64);
  twice.data.resize(128);
  EXPECT_THAT(refused(twice), HasSubstr("w occurs twice"));
  Builder nasty = valid();
  nasty.tensor("\x1b[31m\xff", {4}, 1000, 64);
  EXPECT_THAT(refused(nasty), HasSubstr("\\x1b[31m\\xff"));
}

// Every cut and many flips of a small file: it opens and loads, or it is an Error; it never crashes.
TEST_F(GgufTest, DamagedFiles) {
  const std::string whole = valid().bytes();
  int refusals = 0;
  const auto attempt = [&](const std::string& bytes) {
    tests::write_file(scratch_ / "b.gguf", bytes);
    try {
      const auto checkpoint = open_gguf(scratch_ / "b.gguf");
      for (const TensorInfo& info : checkpoint->tensors()) checkpoint->load(info.name, at::kFloat);
      for (const std::string& key : checkpoint->metadata()->keys()) checkpoint->metadata()->count(key);
      checkpoint->metadata()->strings("tokens");
    } catch (const Error&) {
      ++refusals;
    }
  };
  for (size_t size = 0; size < whole.size(); ++size) attempt(whole.substr(0, size));
  std::mt19937 random(11);
  for (int i = 0; i < 1500; ++i) {
    std::string bytes = whole;
    for (int k = 0; k < 2; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    attempt(bytes);
  }
  EXPECT_GT(refusals, 800);
}

TEST_F(GgufTest, DirectoryWithOneFile) {
  tests::write_file(scratch_ / "a.gguf", valid().bytes());
  EXPECT_EQ(Checkpoint::open(scratch_.path())->tensors().size(), 2u);
  tests::write_file(scratch_ / "b.gguf", valid().bytes());
  EXPECT_THAT(tests::error_of([&] { Checkpoint::open(scratch_.path()); }), HasSubstr("holds 2 GGUF files"));
}

}  // namespace
}  // namespace outliers::io
