// The main() of every test program: what is skipped is told, and a program of which nothing ran is no pass.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace {

/// What CTest takes for "skipped" (SKIP_RETURN_CODE in cmake/Rooms.cmake).
constexpr int kSkipped = 77;

/// Adds `program: test: reason` of each skipped test to a file of the directory OUTLIERS_SKIPPED, whose lines
/// scripts/test.sh shows at the end.
class SkipListener : public testing::EmptyTestEventListener {
 public:
  void OnTestEnd(const testing::TestInfo& test) override {
    if (!test.result()->Skipped()) return;
    std::string reason = "no reason given";
    for (int i = 0; i < test.result()->total_part_count(); ++i) {
      const testing::TestPartResult& part = test.result()->GetTestPartResult(i);
      if (part.skipped()) reason = part.message();
    }
    const char* directory = std::getenv("OUTLIERS_SKIPPED");
    if (directory == nullptr || *directory == '\0') return;
    const std::string program = std::filesystem::read_symlink("/proc/self/exe").filename().string();
    std::ofstream(std::filesystem::path(directory) / program, std::ios::app)
        << program << ": " << test.test_suite_name() << '.' << test.name() << ": " << reason << '\n';
  }
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new SkipListener);
  const int failed = RUN_ALL_TESTS();
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  if (failed == 0 && all.successful_test_count() == 0 && all.skipped_test_count() > 0) return kSkipped;
  return failed;
}
