// The real checkpoints against transformers in float64 (tests/oracle/models_real.py), and the known places
// and sizes of their massive activations.
#include <cmath>

#include <gtest/gtest.h>

#include "outliers/io/npz.h"

#include "run/recorder.h"
#include "support.h"
#include "tolerances.h"

namespace outliers::run {
namespace {

std::vector<std::string> lines_of(const at::Tensor& bytes) {
  std::vector<std::string> lines = {""};
  for (int64_t i = 0; i < bytes.numel(); ++i) {
    const char c = static_cast<char>(bytes.data_ptr<uint8_t>()[i]);
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

struct RealModel {
  const char* file;
  const char* golden;
  tests::RealTolerance float32;
};

class Real {
 public:
  Real(const RealModel& which, at::ScalarType dtype)
      : reference_(tests::golden(std::string("models/") + which.golden)) {
    const std::unique_ptr<models::Model> model = models::Model::open(tests::real_model(which.file));
    RunOptions options;
    options.dtype = dtype;
    options.logits = true;
    forward(*model, {{"prompt", reference_.read("ids")}}, {&recorder_}, options);
  }

  /// Absolute value at layer.N.POINT [1,T,channels].
  double magnitude(int64_t layer, Point point, int64_t token, int64_t channel) const {
    return std::abs(recorder_.get(site_name({layer, point}))[0][token][channel].item<double>());
  }
  void compare(const tests::RealTolerance& allowed) const;

 private:
  io::NpzReader reference_;
  Recorder recorder_;
};

void Real::compare(const tests::RealTolerance& allowed) const {
  const std::vector<std::string> names = lines_of(reference_.read("names"));
  const at::Tensor indices = reference_.read("indices").to(at::kLong),
                   values = reference_.read("values").to(at::kDouble);
  const at::Tensor offsets = reference_.read("row_offsets"),
                   rows = reference_.read("row_largest").to(at::kDouble);
  ASSERT_EQ(recorder_.parts().size(), names.size());
  double worst_whole = 0, worst_row = 0;
  std::string where_whole, where_row;
  for (size_t p = 0; p < names.size(); ++p) {
    const int64_t i = static_cast<int64_t>(p);
    at::Tensor x = recorder_.get(names[p]);
    x = x.masked_fill(x == -std::numeric_limits<double>::infinity(), 0.0);
    const int64_t begin = offsets[i].item<int64_t>(), end = offsets[i + 1].item<int64_t>();
    ASSERT_EQ(x.numel() / x.size(-1), end - begin) << names[p];
    const at::Tensor row_largest = rows.slice(0, begin, end);
    const double largest = row_largest.max().item<double>();
    // Sampled entries against the tensor's largest value and against their row's, then every row's largest.
    const at::Tensor error = (x.reshape({-1}).index_select(0, indices[i]) - values[i]).abs();
    const at::Tensor scale = row_largest.index_select(0, indices[i].div(x.size(-1), "floor"));
    const at::Tensor row_error = (x.abs().amax(-1).reshape({-1}) - row_largest).abs();
    const double whole = std::max(error.max().item<double>(), row_error.max().item<double>()) / largest;
    double row =
        std::max((error / scale).max().item<double>(), (row_error / row_largest).max().item<double>());
    if (names[p].find("attn_logits") != std::string::npos) row = 0;  // see golden_test.cpp
    const tests::Tolerance& limit = names[p].ends_with("attn_probs") ? allowed.attn_probs : allowed.points;
    EXPECT_LE(whole, limit.whole) << names[p];
    EXPECT_LE(row, limit.row) << names[p];
    if (!(whole <= worst_whole)) worst_whole = whole, where_whole = names[p];
    if (!(row <= worst_row)) worst_row = row, where_row = names[p];
  }
  fmt::print("worst {}: whole {:.2g} at {}, row {:.2g} at {}\n", toString(allowed.points.dtype), worst_whole,
             where_whole, worst_row, where_row);
}

constexpr RealModel kSmolLMModel = {tests::kSmolLM, "real_smollm.npz", tests::kSmolLMTolerance};
constexpr RealModel kQwenModel = {tests::kQwen, "real_qwen.npz", tests::kQwenTolerance};
constexpr RealModel kGemmaModel = {tests::kGemma, "real_gemma.npz", tests::kGemmaTolerance};

#define EXPECT_WITHIN_HALF_PERCENT(value, wanted) EXPECT_NEAR(value, wanted, 0.005 * (wanted))

TEST(RealModels, SmolLMAgreesWithTransformers) {
  OUTLIERS_SKIP_WITHOUT(tests::real_model(tests::kSmolLM));
  const Real real(kSmolLMModel, at::kFloat);
  real.compare(kSmolLMModel.float32);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(2, Point::resid_out, 0, 507), 713);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(10, Point::resid_out, 1, 507), 115.2);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(11, Point::resid_out, 0, 507), 23147);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(11, Point::resid_out, 0, 247), 1693);
  for (int64_t layer = 12; layer <= 26; ++layer) {
    EXPECT_NEAR(real.magnitude(layer, Point::resid_out, 0, 507), 23000, 0.015 * 23000) << "layer " << layer;
  }
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(27, Point::resid_out, 0, 507), 22764);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(28, Point::resid_out, 0, 507), 8442);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(29, Point::resid_out, 0, 507), 2921);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(11, Point::down_in, 0, 1229), 2869);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(11, Point::down_in, 0, 1487), 1016);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(28, Point::down_in, 0, 678), 2374);
}

TEST(RealModels, QwenAgreesWithTransformers) {
  OUTLIERS_SKIP_WITHOUT(tests::real_model(tests::kQwen));
  const Real real(kQwenModel, at::kFloat);
  real.compare(kQwenModel.float32);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(2, Point::resid_out, 0, 62), 1199);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(2, Point::resid_out, 0, 490), 260);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(3, Point::resid_out, 0, 62), 1785);
  for (int64_t layer = 7; layer <= 18; ++layer) {
    EXPECT_WITHIN_HALF_PERCENT(real.magnitude(layer, Point::resid_out, 0, 62), 1814) << "layer " << layer;
  }
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(21, Point::resid_out, 0, 62), 1110);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(22, Point::resid_out, 0, 62), 563);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(23, Point::resid_out, 0, 62), 452);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(2, Point::down_in, 0, 1980), 427);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(2, Point::down_in, 0, 2818), 270);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(5, Point::resid_out, 3, 62), 299);
}

TEST(RealModels, GemmaAgreesWithTransformers) {
  OUTLIERS_SKIP_WITHOUT(tests::real_model(tests::kGemma));
  const Real real(kGemmaModel, at::kFloat);
  real.compare(kGemmaModel.float32);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(0, Point::resid_out, 0, 400), 2984);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(3, Point::resid_out, 0, 163), 10428);
  EXPECT_WITHIN_HALF_PERCENT(real.magnitude(14, Point::resid_out, 0, 163), 103795);
}

}  // namespace
}  // namespace outliers::run
