// Files of torch.save, written by tests/oracle/io_torch_files.py.
#include "outliers/io/torch_file.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "outliers/core/error.h"
#include "outliers/io/npz.h"

#include "support.h"

namespace outliers::io {
namespace {

using namespace std::string_literals;  // keeps zero bytes
using testing::HasSubstr;

std::filesystem::path file(const std::string& name) {
  return tests::golden("io/torch/" + name);
}

class TorchFile : public testing::TestWithParam<const char*> {};

TEST_P(TorchFile, HasTheValuesOfTorch) {
  const auto checkpoint = Checkpoint::open(file(GetParam()));
  const NpzReader wanted(file("torch_values.npz"));
  EXPECT_EQ(checkpoint->format(), Format::pytorch);
  ASSERT_EQ(checkpoint->tensors().size(), wanted.names().size());
  for (size_t i = 0; i < wanted.names().size(); ++i) {
    const std::string& name = wanted.names()[i];
    EXPECT_EQ(checkpoint->tensors()[i].name, name) << "the order of the state dict";
    const at::Tensor values = wanted.read(name), loaded = checkpoint->load(name, at::kDouble);
    ASSERT_EQ(loaded.sizes(), values.sizes()) << name;
    EXPECT_TRUE(at::equal(loaded, values)) << name << "\n" << loaded << values;
    checkpoint->prefetch(name);
    checkpoint->release(name);
    if (values.dim() < 2) continue;
    for (int64_t row = 0; row < values.size(0); ++row) {
      EXPECT_TRUE(
          at::equal(checkpoint->load_row_range(name, row, row + 1, at::kDouble), values.narrow(0, row, 1)))
          << name << " row " << row;
    }
  }
  EXPECT_EQ(checkpoint->find("bf16")->encoding, "BF16");
  EXPECT_EQ(checkpoint->find("e4m3")->encoding, "F8_E4M3");
  EXPECT_EQ(checkpoint->find("transposed")->shape, (std::vector<int64_t>{5, 6}));
  EXPECT_EQ(checkpoint->find("transposed")->bytes, 120u);
}

INSTANTIATE_TEST_SUITE_P(Formats, TorchFile,
                         testing::Values("zip.bin", "legacy.bin", "protocol4.bin", "deflated.bin"),
                         [](const auto& test) {
                           return std::string(test.param, std::strchr(test.param, '.'));
                         });

TEST(TorchFiles, StateDictAmongOtherThings) {
  const auto checkpoint = Checkpoint::open(file("trainer.bin"));
  ASSERT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_TRUE(at::equal(checkpoint->load("b", at::kFloat), at::arange(6, at::kFloat).view({2, 3})));
}

TEST(TorchFiles, Shards) {
  const auto checkpoint = Checkpoint::open(file("pytorch_model.bin.index.json"));
  ASSERT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_TRUE(at::equal(checkpoint->load("a", at::kFloat), at::arange(4, at::kFloat)));
  EXPECT_TRUE(at::equal(checkpoint->load("b", at::kFloat), at::arange(6, at::kFloat).view({2, 3})));
  EXPECT_EQ(Checkpoint::open(file(""))->tensors().size(), 2u) << "as the directory that holds the index";

  tests::ScratchDirectory scratch;
  tests::write_file(scratch / "pytorch_model.bin.index.json", R"({"weight_map":{"z":"a.bin"}})");
  EXPECT_THAT(tests::error_of([&] { Checkpoint::open(scratch.path()); }), HasSubstr("a.bin is missing"));
  std::filesystem::copy_file(file("trainer.bin"), scratch / "a.bin");
  EXPECT_THAT(tests::error_of([&] { Checkpoint::open(scratch.path()); }),
              HasSubstr("says that tensor z is in it"));
  std::filesystem::copy_file(file("trainer.bin"), scratch / "pytorch_model.bin");
  std::filesystem::remove(scratch / "pytorch_model.bin.index.json");
  EXPECT_EQ(Checkpoint::open(scratch.path())->tensors().size(), 2u);
}

TEST(TorchFiles, RefusesWhatIsNoTensorByName) {
  const auto refused = [](const char* name) {
    return tests::error_of([&] { Checkpoint::open(file(name)); });
  };
  EXPECT_THAT(refused("hostile_system.bin"), HasSubstr("the pickle names posix.system"));
  EXPECT_THAT(refused("hostile_legacy.bin"), HasSubstr("the pickle names posix.system"));
  EXPECT_THAT(refused("hostile_eval.bin"), HasSubstr("the pickle names builtins.eval"));
  EXPECT_THAT(refused("hostile_module.bin"), HasSubstr("the pickle names torch.nn.modules.linear.Linear"));
  EXPECT_THAT(refused("complex.bin"), HasSubstr("the pickle names torch.ComplexFloatStorage"));
  EXPECT_THAT(refused("expanded.bin"), HasSubstr("is expanded from 1 elements"));
  EXPECT_THAT(refused("no_tensors.bin"), HasSubstr("holds no tensors"));
  EXPECT_THAT(refused("several.bin"), HasSubstr("tensors under 'model' and under 'state_dict'"));
  EXPECT_THAT(refused("big_endian.bin"), HasSubstr("big-endian"));
  EXPECT_THAT(refused("legacy_big_endian.bin"), HasSubstr("big-endian"));
  EXPECT_THAT(refused("short_storage.bin"), HasSubstr("storage 0 has 12 bytes, but 4 elements of 4"));
  EXPECT_THAT(refused("no_storage.bin"), HasSubstr("the bytes of storage 1 are missing"));
  EXPECT_THAT(refused("torch_values.npz"),
              HasSubstr("a zip archive without a data.pkl"));  // no PyTorch file by its name
}

// Pickles that torch does not write, as the data of a legacy file: everything after PROTO 2.
class HostilePickle : public testing::Test {
 protected:
  std::string refused(const std::string& pickle) {
    const std::string magic =
        "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}."s;
    tests::write_file(scratch_ / "bad.bin", magic + "\x80\x02" + pickle);
    return tests::error_of([&] { Checkpoint::open(scratch_ / "bad.bin"); });
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(HostilePickle, Names) {
  EXPECT_THAT(refused("cos\nsystem\n"), HasSubstr("names os.system"));
  EXPECT_THAT(refused("(S'ls'\nios\nsystem\n"), HasSubstr("opcode 0x53"));
  EXPECT_THAT(refused("(ios\nsystem\n"), HasSubstr("names os.system"));
  EXPECT_THAT(refused("X\2\0\0\0osX\6\0\0\0system\x93"s), HasSubstr("names os.system"));
  EXPECT_THAT(refused("ctorch._utils\n_rebuild_tensor_v2\x1b[2J\n"), HasSubstr("\\x1b[2J"));
  EXPECT_THAT(refused("ctorch\nFloatStorage\n)R."), HasSubstr("a call of torch.FloatStorage"));
  EXPECT_THAT(refused("ctorch\nFloatStorage\n)\x81."), HasSubstr("opcode 0x81"));
  EXPECT_THAT(refused("ctorch\nFloatStorage\n}b."), HasSubstr("attributes of what has none"));
}

TEST_F(HostilePickle, Structure) {
  EXPECT_THAT(refused(""), HasSubstr("ends early"));
  EXPECT_THAT(refused("."), HasSubstr("takes more than it gives"));
  EXPECT_THAT(refused("t."), HasSubstr("a mark is missing"));
  EXPECT_THAT(refused("}}."), HasSubstr("leaves something over"));
  EXPECT_THAT(refused("h\x07."), HasSubstr("recalls what it never kept"));
  EXPECT_THAT(refused("q\x07."), HasSubstr("takes more than it gives"));
  EXPECT_THAT(refused(")a."), HasSubstr("takes more than it gives"));
  EXPECT_THAT(refused("}K\1a."), HasSubstr("items have no container"));
  EXPECT_THAT(refused("}(K\1u."), HasSubstr("items have no container"));
  EXPECT_THAT(refused("X\xff\xff\xff\xff"), HasSubstr("ends early"));
  EXPECT_THAT(refused("K\1Q."), HasSubstr("names no storage"));
  EXPECT_THAT(refused("].\x80\x02]."), HasSubstr("no state dict"));
  EXPECT_THAT(refused("\x80\x07"), HasSubstr("protocol 7"));
  // Deep nesting and values that hold themselves cost nothing but their bytes.
  EXPECT_THAT(refused(std::string(1 << 20, ']')), HasSubstr("ends early"));
  EXPECT_THAT(refused("]" + std::string(1 << 20, '\x85') + ".\x80\x02]."), HasSubstr("no state dict"));
  EXPECT_THAT(refused("]q\1h\1a.\x80\x02]."), HasSubstr("no state dict"));
  EXPECT_THAT(refused(std::string((1 << 22) + 1, 'N')), HasSubstr("more than 4194304 objects"));
  // Nor does a large dict without tensors: it is searched once.
  std::string pairs;
  for (int i = 0; i < 1 << 20; ++i) pairs += "h\1h\1";
  EXPECT_THAT(refused("Nq\0010}(" + pairs + "u.\x80\x02]."), HasSubstr("holds no tensors"));
}

TEST_F(HostilePickle, Tensors) {
  // A float storage "0" of 6 elements, then the tensor's offset, shape and strides.
  const auto tensor = [&](const std::string& rest) {
    const std::string storage =
        "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
        "0X\3\0\0\0cpuK\6NtQ"s;
    return "}X" + std::string("\1\0\0\0a", 5) + "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest +
           "\x89Nt" +
           "Rs.\x80\x02]q\1U\1"
           "0a.";
  };
  // Right but for the bytes, which end before the storage's.
  EXPECT_THAT(refused(tensor("K\0K\2K\3\x86K\3K\1\x86"s)), HasSubstr("cut short"));
  EXPECT_THAT(refused(tensor("K\1K\2K\3\x86K\3K\1\x86"s)), HasSubstr("lies outside its storage of 6"));
  EXPECT_THAT(refused(tensor("K\0K\2K\3\x86K\4K\1\x86"s)), HasSubstr("lies outside its storage of 6"));
  EXPECT_THAT(refused(tensor("K\7K\0K\3\x86K\3K\1\x86"s)), HasSubstr("lies outside its storage of 6"));
  EXPECT_THAT(refused(tensor("K\0K\2\x85K\3K\1\x86"s)), HasSubstr("other arguments"));
  EXPECT_THAT(refused(tensor("J\xff\xff\xff\xffK\2\x85K\1\x85"s)), HasSubstr("other arguments"));
  EXPECT_THAT(refused(tensor("K\0J\xff\xff\xff\xff\x85K\1\x85"s)), HasSubstr("negative"));
  EXPECT_THAT(refused(tensor("K\0K\7\x85K\0\x85"s)), HasSubstr("expanded"));
  const std::string huge("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", 10);
  EXPECT_THAT(refused(tensor("K\0"s + huge + huge + "\x86K\0K\0\x86"s)), HasSubstr("overflows"));
  EXPECT_THAT(refused(tensor("K\0K\2\x85"s + huge + "\x85"s)), HasSubstr("lies outside"));
  EXPECT_THAT(refused(tensor("K\0K\3\x85"s + huge + "\x85"s)), HasSubstr("overflows"));
  EXPECT_THAT(refused(tensor("K\0]K\1\x85"s)), HasSubstr("other arguments"));
}

// Every cut and many flips: it opens and loads, or it is an Error; it never crashes.
TEST(TorchFiles, DamagedFiles) {
  tests::ScratchDirectory scratch;
  int refusals = 0;
  const auto attempt = [&](const std::string& bytes) {
    tests::write_file(scratch / "b.bin", bytes);
    try {
      const auto checkpoint = Checkpoint::open(scratch / "b.bin");
      for (const TensorInfo& info : checkpoint->tensors()) checkpoint->load(info.name, at::kFloat);
    } catch (const Error&) {
      ++refusals;
    }
  };
  std::mt19937 random(7);
  for (const char* name : {"trainer.bin", "legacy.bin", "deflated.bin"}) {
    const std::string whole = tests::read_file(file(name));
    for (size_t size = 0; size < whole.size(); size += 5) attempt(whole.substr(0, size));
    for (int i = 0; i < 700; ++i) {
      std::string bytes = whole;
      for (int k = 0; k < 3; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
      attempt(bytes);
    }
  }
  EXPECT_GT(refusals, 2000);
}

}  // namespace
}  // namespace outliers::io
