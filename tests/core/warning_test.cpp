#include "outliers/core/warning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace outliers {
namespace {

TEST(Warning, ComesOncePerMessage) {
  std::vector<std::string> got;
  const WarningHandler before =
      set_warning_handler([&](const std::string& message) { got.push_back(message); });
  warn("config.json: '{}' is ignored", "sliding_window");
  warn("config.json: '{}' is ignored", "rope_scaling");
  warn("config.json: '{}' is ignored", "sliding_window");
  set_warning_handler(before);
  EXPECT_THAT(got, testing::ElementsAre("config.json: 'sliding_window' is ignored",
                                        "config.json: 'rope_scaling' is ignored"));
}

TEST(Warning, IsALineOnStandardErrorAtFirst) {
  testing::internal::CaptureStderr();
  warn("model.gguf: {} is ignored", 7);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "outliers: warning: model.gguf: 7 is ignored\n");
}

}  // namespace
}  // namespace outliers
