#include "outliers/core/output.h"

#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "outliers/core/error.h"

namespace outliers {
namespace {
namespace fs = std::filesystem;

class OutputTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "outliers-output-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }
  static std::string read(const fs::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(root_), fs::directory_iterator()));
  }
  fs::path root_;
};

TEST_F(OutputTest, FileAppearsOnCommitOnly) {
  {
    OutputFile file(root_ / "a", false);
    file.write("half");
    EXPECT_FALSE(fs::exists(root_ / "a"));
  }
  EXPECT_EQ(entries(), 0u);
  OutputFile file(root_ / "a", false);
  file.write("whole");
  file.commit();
  EXPECT_EQ(read(root_ / "a"), "whole");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(OutputTest, ExistingFileNeedsForce) {
  std::ofstream(root_ / "a") << "old";
  EXPECT_THROW(OutputFile(root_ / "a", false), Error);
  OutputFile file(root_ / "a", true);
  file.write("new");
  EXPECT_EQ(read(root_ / "a"), "old");
  file.commit();
  EXPECT_EQ(read(root_ / "a"), "new");
}

TEST_F(OutputTest, FullDiskIsAnError) {
  // /dev/full accepts opens and fails writes; a link makes it the temporary's target.
  const fs::path temporary = root_ / (".a.partial-" + std::to_string(getpid()));
  fs::create_symlink("/dev/full", temporary);
  OutputFile file(root_ / "a", false);
  const std::string big(1 << 20, 'x');
  EXPECT_THROW(file.write(big), Error);
}

TEST_F(OutputTest, DirectoryReplacesOnlyWhenComplete) {
  fs::create_directory(root_ / "d");
  std::ofstream(root_ / "d" / "old") << "1";
  EXPECT_THROW(OutputDirectory(root_ / "d", false, "old"), Error);
  {
    OutputDirectory dir(root_ / "d", true, "old");
    std::ofstream(dir.temporary() / "new") << "2";
  }
  EXPECT_TRUE(fs::exists(root_ / "d" / "old"));
  EXPECT_EQ(entries(), 1u);
  OutputDirectory dir(root_ / "d/", true, "old");
  std::ofstream(dir.temporary() / "new") << "2";
  dir.commit();
  EXPECT_TRUE(fs::exists(root_ / "d" / "new"));
  EXPECT_FALSE(fs::exists(root_ / "d" / "old"));
  EXPECT_EQ(entries(), 1u);
}

TEST_F(OutputTest, ForceLeavesAForeignDirectoryAlone) {
  fs::create_directory(root_ / "home");
  EXPECT_NO_THROW(OutputDirectory(root_ / "home", true, "results.json")) << "an empty directory may go";
  std::ofstream(root_ / "home" / "thesis.tex") << "1";
  EXPECT_THROW(OutputDirectory(root_ / "home", true, "results.json"), Error);
  EXPECT_TRUE(fs::exists(root_ / "home" / "thesis.tex"));
  EXPECT_EQ(entries(), 1u);
}

TEST_F(OutputTest, ParentThatIsAFile) {
  std::ofstream(root_ / "f") << "1";
  EXPECT_THROW(OutputDirectory(root_ / "f" / "d", false, "old"), Error);
}

}  // namespace
}  // namespace outliers
