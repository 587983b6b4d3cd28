// The library's public face, by outliers.h alone.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/core/warning.h"
#include "outliers/io/npz.h"
#include "outliers/outliers.h"

#include "npy.h"
#include "support.h"
#include "tolerances.h"

namespace outliers {
namespace {

using testing::HasSubstr;

const std::filesystem::path kModel = tests::golden("models/llama_smollm");

/// The kind of the Error that `action` throws, with its message.
template <typename Action>
std::pair<ErrorKind, std::string> error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(Session, CapturesWhatTransformersComputes) {
  const io::NpzReader reference(kModel / "reference.npz");
  const Session session;
  const Model model = Model::open((kModel / "model.safetensors").string());
  const at::Tensor ids = reference.read("ids");
  ASSERT_EQ(ids.size(0), 1);
  const run::Input input =
      model.ids({ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel()});
  const Captured captured = session.capture(model, input, "layer.*.resid_out,layer.1.down_in,logits");
  std::vector<std::string> names;
  for (const auto& [name, got] : captured) {
    names.push_back(name);
    const at::Tensor wanted = reference.read(name);
    ASSERT_EQ(got.sizes(), wanted.sizes()) << name;
    EXPECT_LE(tests::difference(got, wanted).whole, tests::point_tolerance(at::kFloat).whole) << name;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"layer.0.resid_out", "layer.1.down_in", "layer.1.resid_out",
                                             "logits"}));

  const tests::ScratchDirectory scratch;
  session.capture(model, input, "layer.1.down_in", scratch / "a.npz");
  EXPECT_TRUE(io::NpzReader(scratch / "a.npz").read("layer.1.down_in").equal(captured[1].second));
  const auto [kind, message] = error_of([&] { session.capture(model, input, "logits", scratch / "a.npz"); });
  EXPECT_EQ(kind, ErrorKind::output);
  EXPECT_THAT(message, HasSubstr("exists already"));
}

TEST(Session, OwnsTheSettingsWhileItLives) {
  const int threads = at::get_num_threads();
  const auto precision = at::globalContext().float32MatmulPrecision();
  std::vector<std::string> warnings;
  {
    SessionOptions options;
    options.threads = threads + 1;
    options.tf32 = true;
    options.dtype = at::kBFloat16;
    options.warning = [&](const std::string& line) { warnings.push_back(line); };
    const Session session(options);
    EXPECT_EQ(at::get_num_threads(), threads + 1);
    EXPECT_EQ(at::globalContext().float32MatmulPrecision(), at::Float32MatmulPrecision::HIGH);
    EXPECT_EQ(session.dtype(Model::open(kModel.string() + "/model.gguf").checkpoint()), at::kBFloat16);
    warn("this is told to {}", "the caller");
    EXPECT_EQ(error_of([] { const Session second; }).first, ErrorKind::usage);
  }
  EXPECT_EQ(at::get_num_threads(), threads);
  EXPECT_EQ(at::globalContext().float32MatmulPrecision(), precision);
  EXPECT_EQ(warnings, std::vector<std::string>{"this is told to the caller"});
  const Session again;  // there may be another afterwards
  EXPECT_EQ(again.dtype(Model::open(kModel.string() + "/model.gguf").checkpoint()), at::kFloat);
}

TEST(Session, SurveysAndProgressMayEndIt) {
  const tests::ScratchDirectory scratch;
  const std::filesystem::path golden = tests::golden("models/dinov2_with_registers_shrunk");
  tests::write_file(scratch / "images.npy",
                    tests::npy(io::NpzReader(golden / "reference.npz").read("pixel_values")));
  SurveyOptions survey;
  survey.images = {scratch / "images.npy"};
  const Model model = Model::open(golden.string());
  SessionOptions options;
  std::vector<std::string> told;
  options.progress.progress = [&](const ProgressState& state) { told.push_back(state.what); };
  {
    const Session session(options);
    const Survey result = session.survey(model, survey);
    EXPECT_EQ(static_cast<int64_t>(result.results.layers.size()), model.config().layers);
    EXPECT_FALSE(result.arrays.empty());
    EXPECT_THAT(told, testing::Contains("measuring"));
  }
  options.progress.progress = [](const ProgressState& state) {
    if (!state.ended) throw std::runtime_error("enough of " + state.what);
  };
  const Session session(options);
  EXPECT_THROW(session.survey(model, survey), std::runtime_error);
}

TEST(Model, ShowsItsWeights) {
  const Model model = Model::open(kModel.string() + "/model.safetensors");
  const models::Config& config = model.config();
  EXPECT_EQ(model.weight("layer.1.down.weight").sizes(), (at::IntArrayRef{config.width, config.mlp_width}));
  EXPECT_TRUE(model.has("embedding.weight"));
  EXPECT_FALSE(model.has("layer.9.q.weight"));
  EXPECT_NE(model.checkpoint().find("model.embed_tokens.weight"), nullptr);
}

}  // namespace
}  // namespace outliers
