#include "outliers/core/output.h"

#include <atomic>
#include <csignal>
#include <fstream>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/core/error.h"
#include "outliers/core/warning.h"

#include "support.h"

namespace outliers {
namespace {
namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using tests::error_of;

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

// A limit on the size of files fails writes as a full disk does.
TEST_F(OutputTest, FullDiskIsAnErrorWithItsReason) {
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit little{1000, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &little);
  const auto write = [&](size_t bytes) {
    return error_of([&] {
      OutputFile file(root_ / "a", false);
      errno = ENOENT;  // of an earlier call, which is none of the user's business
      file.write(std::string(bytes, 'x'));
      file.commit();
    });
  };
  const std::string small = write(2000), large = write(3 << 20);
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, before);
  for (const std::string& message : {small, large}) {
    EXPECT_EQ(message, fmt::format("cannot write {}: File too large; free some space or choose another place",
                                   (root_ / "a").string()));
  }
  EXPECT_EQ(entries(), 0u);
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

TEST_F(OutputTest, ForceOfADirectoryReplacesNoFile) {
  std::ofstream(root_ / "thesis.tex") << "1";
  EXPECT_THROW(OutputDirectory(root_ / "thesis.tex", true, "results.json"), Error);
  mkfifo((root_ / "pipe").c_str(), 0600);
  EXPECT_THROW(OutputFile(root_ / "pipe", true), Error);
  EXPECT_EQ(entries(), 2u);
}

TEST_F(OutputTest, ForceFollowsALinkToAReport) {
  fs::create_directories(root_ / "disk" / "report");
  std::ofstream(root_ / "disk" / "report" / "marker") << "old";
  fs::create_symlink(root_ / "disk" / "report", root_ / "link");
  OutputDirectory dir(root_ / "link", true, "marker");
  std::ofstream(dir.temporary() / "marker") << "new";
  dir.commit();
  EXPECT_TRUE(fs::is_symlink(root_ / "link"));
  EXPECT_EQ(read(root_ / "disk" / "report" / "marker"), "new");
}

// Both with what renames without replacing, and as on file systems that cannot.
class OutputRenames : public OutputTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    OutputTest::SetUp();
    set_plain_renames(GetParam());
  }
  void TearDown() override {
    set_plain_renames(false);
    OutputTest::TearDown();
  }
};
INSTANTIATE_TEST_SUITE_P(Output, OutputRenames, ::testing::Values(false, true));

TEST_P(OutputRenames, WhatAppearsMeanwhileStays) {
  const std::string of_file = error_of([&] {
    OutputFile file(root_ / "a.npz", false);
    file.write("ours");
    std::ofstream(root_ / "a.npz") << "theirs";
    file.commit();
  });
  EXPECT_THAT(of_file, HasSubstr("has appeared while this ran"));
  EXPECT_THAT(of_file, HasSubstr("a.1.npz"));
  EXPECT_EQ(read(root_ / "a.npz"), "theirs");
  EXPECT_EQ(read(root_ / "a.1.npz"), "ours");

  const std::string of_directory = error_of([&] {
    OutputDirectory dir(root_ / "d", false, "marker");
    std::ofstream(dir.temporary() / "marker") << "ours";
    fs::create_directory(root_ / "d");
    std::ofstream(root_ / "d" / "marker") << "theirs";
    dir.commit();
  });
  EXPECT_THAT(of_directory, HasSubstr("has appeared while this ran"));
  EXPECT_EQ(read(root_ / "d" / "marker"), "theirs");
  EXPECT_EQ(read(root_ / "d.1" / "marker"), "ours");
  EXPECT_EQ(entries(), 4u);
}

TEST_P(OutputRenames, ForceReplacesWhatItSawOnly) {
  fs::create_directory(root_ / "d");
  std::ofstream(root_ / "d" / "marker") << "old";
  {
    OutputDirectory dir(root_ / "d", true, "marker");
    std::ofstream(dir.temporary() / "marker") << "new";
    dir.commit();
  }
  EXPECT_EQ(read(root_ / "d" / "marker"), "new");
  EXPECT_EQ(entries(), 1u);

  const std::string error = error_of([&] {
    OutputDirectory dir(root_ / "d", true, "marker");
    std::ofstream(dir.temporary() / "marker") << "ours";
    fs::rename(root_ / "d", root_ / "moved");
    fs::create_directory(root_ / "d");
    std::ofstream(root_ / "d" / "marker") << "theirs";
    dir.commit();
  });
  EXPECT_THAT(error, HasSubstr("has been replaced while this ran"));
  EXPECT_EQ(read(root_ / "d" / "marker"), "theirs");
  EXPECT_EQ(read(root_ / "d.1" / "marker"), "ours");

  // Somebody's files have come into what was a report.
  OutputDirectory dir(root_ / "d", true, "marker");
  fs::rename(root_ / "d" / "marker", root_ / "d" / "thesis.tex");
  EXPECT_THROW(dir.commit(), Error);
  EXPECT_TRUE(fs::exists(root_ / "d" / "thesis.tex"));
}

TEST_P(OutputRenames, ForceOfWhatHasGone) {
  fs::create_directory(root_ / "d");
  OutputDirectory dir(root_ / "d", true, "marker");
  std::ofstream(dir.temporary() / "marker") << "new";
  fs::remove_all(root_ / "d");
  if (GetParam()) {
    EXPECT_THROW(dir.commit(), Error);
    return;
  }
  dir.commit();
  EXPECT_EQ(read(root_ / "d" / "marker"), "new");
}

TEST_F(OutputTest, ForceLeavesNoMomentWithoutAReport) {
  fs::create_directory(root_ / "d");
  std::ofstream(root_ / "d" / "marker") << "old";
  std::atomic<bool> stop = false, gap = false;
  std::thread watcher([&] {
    while (!stop) {
      if (access((root_ / "d" / "marker").c_str(), F_OK) != 0) gap = true;
    }
  });
  for (int i = 0; i < 300; ++i) {
    OutputDirectory dir(root_ / "d", true, "marker");
    std::ofstream(dir.temporary() / "marker") << i;
    dir.commit();
  }
  stop = true;
  watcher.join();
  EXPECT_FALSE(gap);
}

/// A process that makes an output and is killed, or waits to be.
pid_t start_output(const fs::path& path) {
  int pipes[2];
  EXPECT_EQ(pipe(pipes), 0);
  const pid_t child = fork();
  if (child == 0) {
    OutputDirectory dir(path, false, "marker");
    std::ofstream(dir.temporary() / "half") << "1";
    OutputFile file(path.parent_path() / "f", false);
    if (write(pipes[1], "x", 1) == 1) pause();
    _exit(0);
  }
  char ready = 0;
  EXPECT_EQ(::read(pipes[0], &ready, 1), 1);
  close(pipes[0]);
  close(pipes[1]);
  return child;
}

TEST_F(OutputTest, WhatKilledRunsLeftIsRemoved) {
  std::vector<std::string> warnings;
  const auto before = set_warning_handler([&](const std::string& message) { warnings.push_back(message); });
  const pid_t child = start_output(root_ / "d");
  EXPECT_EQ(entries(), 2u);
  const std::string busy = error_of([&] { OutputDirectory(root_ / "d", false, "marker"); });
  EXPECT_THAT(busy, HasSubstr(fmt::format("is being written by process {}", child)));
  EXPECT_THAT(error_of([&] { OutputFile(root_ / "f", false); }), HasSubstr("is being written by process"));
  { const Temporary beside(root_ / "d", Temporary::Kind::directory, false); }
  EXPECT_EQ(entries(), 2u);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  // What is only named like one stays: a link, and what another program made.
  fs::create_symlink(root_ / "target", root_ / ".d.partial-1-abcdefgh");
  std::ofstream(root_ / ".d.partial-notes") << "1";
  {
    OutputDirectory dir(root_ / "d", false, "marker");
    EXPECT_EQ(entries(), 4u);
    dir.commit();
    OutputFile(root_ / "f", false).commit();
  }
  set_warning_handler(before);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr(".d.partial-"), HasSubstr(".f.partial-")));
  EXPECT_EQ(entries(), 4u);
}

TEST_F(OutputTest, ParentThatIsAFile) {
  std::ofstream(root_ / "f") << "1";
  EXPECT_THROW(OutputDirectory(root_ / "f" / "d", false, "old"), Error);
}

}  // namespace
}  // namespace outliers
