// Every named point of tiny random models, from safetensors and from GGUF, against transformers in float64
// (tests/oracle/models_tiny.py, models_vision.py).
#include <algorithm>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/io/npz.h"
#include "outliers/models/config_reader.h"
#include "outliers/models/families.h"
#include "outliers/models/rotary.h"

#include "run/golden_inputs.h"
#include "run/recorder.h"
#include "support.h"
#include "tolerances.h"

namespace outliers::run {
namespace {

TEST(GoldenModels, CoverEveryFamily) {
  const std::vector<std::string> models = tests::golden_models();
  for (const models::Family& family : models::families()) {
    EXPECT_TRUE(std::any_of(
        models.begin(), models.end(),
        [&](const std::string& name) { return name.starts_with(std::string(family.name) + "_"); }))
        << "no tiny model of the family " << family.name;
  }
}

struct Case {
  std::string name;
  const char* file;
  at::ScalarType dtype;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name << "/" << c.file << " " << toString(c.dtype);
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const std::string& name : tests::golden_models()) {
    for (const char* file : {"model.safetensors", "model.gguf"}) {
      // GGUF has no architecture for some families.
      if (!std::filesystem::exists(tests::golden("models/" + name) / file)) continue;
      for (at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf}) {
        cases.push_back({name, file, dtype});
      }
    }
  }
  return cases;
}

class GoldenPoints : public testing::TestWithParam<Case> {};

TEST_P(GoldenPoints, AgreeWithTransformers) {
  const Case& c = GetParam();
  const std::filesystem::path folder = tests::golden("models/" + c.name);
  const io::NpzReader reference(folder / "reference.npz");
  const std::unique_ptr<models::Model> model = models::Model::open(folder / c.file);
  Recorder recorder;
  RunOptions options;
  options.dtype = c.dtype;
  options.logits = true;
  forward(*model, {tests::golden_input(*model, reference)}, {&recorder}, options);

  const tests::Tolerance& allowed = tests::point_tolerance(c.dtype);
  tests::Difference worst;
  std::string worst_whole, worst_row;
  size_t compared = 0;
  for (const std::string& name : reference.names()) {
    if (name == "ids" || name == "pixel_values") continue;
    ASSERT_TRUE(recorder.parts().count(name)) << name << " was not shown";
    const at::Tensor got = recorder.get(name), wanted = reference.read(name);
    ASSERT_EQ(got.sizes(), wanted.sizes()) << name;
    tests::Difference d = tests::difference(got, wanted);
    EXPECT_LE(d.whole, allowed.whole) << name;
    // The first query's only score may be near zero by cancellation, so rows of scores have no scale of their
    // own.
    if (name.find("attn_logits") != std::string::npos) d.row = 0;
    EXPECT_LE(d.row, allowed.row) << name;
    if (d.whole > worst.whole) worst.whole = d.whole, worst_whole = name;
    if (d.row > worst.row) worst.row = d.row, worst_row = name;
    ++compared;
  }
  EXPECT_EQ(compared, parse_sites("layer.*.*,*", model->config()).size());
  EXPECT_EQ(recorder.parts().size(), compared) << "points were shown that transformers does not have";
  fmt::print("worst {} {}: whole {:.2g} at {}, row {:.2g} at {}\n", c.name, toString(c.dtype), worst.whole,
             worst_whole, worst.row, worst_row);
}

std::string case_name(const testing::TestParamInfo<Case>& test) {
  const std::string format = std::filesystem::path(test.param.file).extension().string().substr(1);
  return fmt::format("{}_{}_{}", test.param.name, format, toString(test.param.dtype));
}

INSTANTIATE_TEST_SUITE_P(TinyModels, GoldenPoints, testing::ValuesIn(all_cases()), case_name);

TEST(GoldenRotary, FrequenciesAgreeWithTransformers) {
  const io::NpzReader file(tests::golden("models/rotary.npz"));
  size_t compared = 0;
  for (const std::string& name : file.names()) {
    if (name.find(".config") == std::string::npos) continue;
    const std::string kind = name.substr(0, name.find('.'));
    const at::Tensor bytes = file.read(name);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data_ptr()),
                                static_cast<size_t>(bytes.numel()));
    const models::Rotary rotary = models::describe_hugging_face(text, name).config.rotaries[0];
    EXPECT_NEAR(rotary.attention_factor, file.read(kind + ".factor").item<double>(), 1e-12) << kind;
    for (int64_t tokens : {16, 100}) {
      const at::Tensor wanted = file.read(fmt::format("{}.{}", kind, tokens));
      const at::Tensor got = rotary_frequencies(rotary, tokens);
      EXPECT_TRUE(at::allclose(got, wanted, 3e-7, 0.0)) << kind << " " << tokens << "\n" << got << wanted;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 12u);
}

}  // namespace
}  // namespace outliers::run
