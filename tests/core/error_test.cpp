#include "outliers/core/error.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace outliers {
namespace {

TEST(Error, CarriesMessageKindAndSettings) {
  try {
    fail("{} is {}", "x", 3);
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "x is 3");
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_TRUE(error.settings().empty());
  }
  try {
    require(false, Cause{ErrorKind::memory, {Setting::memory_limit}}, "{} is too much", 7);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "7 is too much");
    EXPECT_EQ(error.kind(), ErrorKind::memory);
    EXPECT_EQ(error.settings(), std::vector<Setting>{Setting::memory_limit});
  }
  const Error unread("no", not_read(ENOENT));
  EXPECT_EQ(unread.kind(), ErrorKind::file);
  EXPECT_EQ(unread.error_number(), ENOENT);
  EXPECT_EQ(UsageError("no").kind(), ErrorKind::usage);
  EXPECT_EQ(Interrupted(2, "interrupted").signal(), 2);
}

}  // namespace
}  // namespace outliers
