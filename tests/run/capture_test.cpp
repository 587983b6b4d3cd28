#include "outliers/run/capture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/io/npz.h"
#include "outliers/run/capture_compare.h"

#include "support.h"

namespace outliers::run {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Capture : public testing::Test {
 protected:
  const std::filesystem::path folder_ = tests::golden("models/gemma3_caps");
  const std::unique_ptr<models::Model> model_ = models::Model::open(folder_ / "model.gguf");
  const std::vector<Site> sites_ = parse_sites("layer.*.*,*", model_->config());
  Input ids() const { return {"capture", io::NpzReader(folder_ / "reference.npz").read("ids")}; }
  tests::ScratchDirectory scratch_;
};

TEST_F(Capture, AgreesWithTransformersInBothFormats) {
  for (const char* file : {"a.npz", "a.safetensors"}) {
    CaptureOptions options;
    options.run.chunk_tokens = 1;
    capture(*model_, ids(), sites_, scratch_ / file, options);
    const CaptureComparison comparison = compare_captures(scratch_ / file, folder_ / "reference.npz");
    EXPECT_EQ(comparison.points.size(), 59u);
    EXPECT_EQ(comparison.first, -1);
    EXPECT_EQ(comparison.points.front().name, "layer.0.resid_in");
    EXPECT_EQ(comparison.points.back().name, "logits");
    EXPECT_EQ(comparison.points.back().dtype, at::kFloat);
    EXPECT_GT(comparison.points.back().worst_absolute, 0);
    EXPECT_LT(comparison.points.back().worst_relative, 1e-5);
  }
}

TEST_F(Capture, JudgesByTheCoarserRun) {
  CaptureOptions options;
  options.run.dtype = at::kBFloat16;
  for (const char* file : {"b.npz", "b.safetensors"}) {
    capture(*model_, ids(), sites_, scratch_ / file, options);
    const CaptureComparison comparison = compare_captures(scratch_ / file, folder_ / "reference.npz");
    EXPECT_EQ(comparison.points.front().dtype, at::kBFloat16) << file;
    EXPECT_EQ(comparison.first, -1)
        << comparison.points[static_cast<size_t>(std::max<int64_t>(0, comparison.first))].name;
    const CaptureTolerance strict = {1e-4, 1e-3};
    EXPECT_GE(compare_captures(scratch_ / file, folder_ / "reference.npz", &strict).first, 0);
  }
}

TEST_F(Capture, NamesTheFirstPointThatDiffers) {
  capture(*model_, ids(), sites_, scratch_ / "a.npz");
  const io::NpzReader reader(scratch_ / "a.npz");
  io::NpzWriter writer(scratch_ / "edited.npz");
  for (const std::string& name : reader.names()) {
    at::Tensor x = reader.read(name);
    if (name == "layer.1.key") x[0][1][4][2] += 50.0;
    if (name == "layer.2.resid_in") x[0][3][1] = std::nan("");
    if (name == "layer.2.resid_out") x = x.slice(1, 0, 4).contiguous();
    if (name != "layer.0.query") writer.add(name, x);
  }
  writer.commit();
  const CaptureComparison comparison = compare_captures(scratch_ / "edited.npz", scratch_ / "a.npz");
  ASSERT_GE(comparison.first, 0);
  const PointComparison& first = comparison.points[static_cast<size_t>(comparison.first)];
  EXPECT_EQ(first.name, "layer.1.key");
  EXPECT_THAT(first.place, ElementsAre(0, 1, 4, 2));
  EXPECT_NEAR(first.worst_absolute, 50.0, 1e-3);
  EXPECT_NEAR(first.value_a - first.value_b, 50.0, 1e-3);
  EXPECT_THAT(comparison.only_in_b, ElementsAre("layer.0.query"));
  EXPECT_TRUE(comparison.only_in_a.empty());
  for (const PointComparison& point : comparison.points) {
    const bool touched =
        point.name == "layer.1.key" || point.name == "layer.2.resid_in" || point.name == "layer.2.resid_out";
    EXPECT_EQ(point.within, !touched) << point.name;
    if (point.name == "layer.2.resid_in") {
      EXPECT_EQ(point.nonfinite, 1);
    }
    if (point.name == "layer.2.resid_out") {
      EXPECT_EQ(point.problem, "shape [1, 4, 20] against [1, 15, 20]");
    }
  }
}

TEST_F(Capture, StoresFloat32WhenAsked) {
  CaptureOptions options;
  options.run.dtype = at::kHalf;
  options.store_float32 = true;
  capture(*model_, ids(), parse_sites("layer.0.down_in", model_->config()), scratch_ / "a.npz", options);
  const io::NpzReader reader(scratch_ / "a.npz");
  EXPECT_THAT(reader.names(), ElementsAre("ids", "precision", "layer.0.down_in"));
  EXPECT_EQ(reader.read("layer.0.down_in").scalar_type(), at::kFloat);
  EXPECT_EQ(reader.read("precision").item<int64_t>(), 11);
}

TEST_F(Capture, ExplainsMistakes) {
  EXPECT_THAT(tests::error_of([&] { capture(*model_, ids(), sites_, scratch_ / "a.txt"); }),
              HasSubstr(".npz or a .safetensors"));
  capture(*model_, ids(), parse_sites("logits", model_->config()), scratch_ / "a.npz");
  capture(*model_, {"capture", ids().ids.add(1).remainder(60)}, parse_sites("logits", model_->config()),
          scratch_ / "b.npz");
  capture(*model_, ids(), parse_sites("final_norm_out", model_->config()), scratch_ / "c.npz");
  EXPECT_THAT(tests::error_of([&] { compare_captures(scratch_ / "a.npz", scratch_ / "b.npz"); }),
              HasSubstr("different token ids"));
  EXPECT_THAT(tests::error_of([&] { compare_captures(scratch_ / "a.npz", scratch_ / "c.npz"); }),
              HasSubstr("no point in common"));
  EXPECT_THAT(tests::error_of([&] { capture(*model_, ids(), sites_, scratch_ / "a.npz"); }),
              HasSubstr("a.npz"));
}

}  // namespace
}  // namespace outliers::run
