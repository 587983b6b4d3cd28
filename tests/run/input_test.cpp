#include "outliers/run/input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/run/runner.h"

#include "support.h"

namespace outliers::run {
namespace {

using testing::HasSubstr;

TEST(ImageInput, NamesImagesThatDoNotFit) {
  const auto vit = models::Model::open(tests::golden("models/vit_rectangle/model.safetensors"));
  const auto dino = models::Model::open(tests::golden("models/dinov2_head/model.safetensors"));
  const auto text = models::Model::open(tests::golden("models/llama_tied/model.safetensors"));
  const auto error = [](const models::Model& model, const std::vector<Input>& inputs) {
    return tests::error_of([&] { forward(model, inputs, {}, {}); });
  };
  EXPECT_THAT(error(*vit, {{"prompt", at::zeros({1, 7}, at::kLong)}}),
              HasSubstr("input 'prompt' has no images"));
  EXPECT_THAT(tests::error_of([&] {
                image_input(vit->config(), "a", at::zeros({1, 3, 24, 20}));
              }),
              HasSubstr("24 x 20 pixels (height x width), but this model takes images of 12 x 10"));
  EXPECT_THAT(tests::error_of([&] {
                image_input(dino->config(), "a", at::zeros({1, 3, 3, 20}));
              }),
              HasSubstr("hold no patch of 4 x 4"));
  EXPECT_THAT(tests::error_of([&] {
                image_input(vit->config(), "a", at::zeros({1, 1, 12, 10}));
              }),
              HasSubstr("pixels"));
  Input wrong = image_input(vit->config(), "a", at::zeros({1, 3, 12, 10}));
  wrong.ids = wrong.ids.narrow(1, 0, 5);
  EXPECT_THAT(error(*vit, {wrong}), HasSubstr("ids"));
}

}  // namespace
}  // namespace outliers::run
