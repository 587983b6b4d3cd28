#include "outliers/core/progress.h"

#include <chrono>
#include <cstdlib>
#include <pty.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>

#include "outliers/core/progress_line.h"
#include "outliers/core/warning.h"

namespace outliers {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

/// What `action` writes to a terminal of so many columns.
template <typename Action>
std::string on_terminal(unsigned short columns, const Action& action) {
  const winsize size{24, columns, 0, 0};
  int ours = -1;
  const pid_t child = forkpty(&ours, nullptr, nullptr, &size);
  if (child == 0) {
    action();
    std::fflush(nullptr);
    _exit(0);
  }
  std::string seen;
  char piece[4096];
  for (ssize_t n = 0; (n = read(ours, piece, sizeof piece)) > 0;) seen.append(piece, static_cast<size_t>(n));
  close(ours);
  waitpid(child, nullptr, 0);
  return seen;
}

void wait_to_draw() {
  std::this_thread::sleep_for(std::chrono::milliseconds(110));
}

TEST(Progress, AWarningStandsOnALineOfItsOwn) {
  const std::string seen = on_terminal(60, [] {
    setenv("TERM", "xterm", 1);
    show_progress_line();
    Progress progress("layers", 10, "layers");
    wait_to_draw();
    progress.update(5);
    warn("config.json says\u202eso");
    wait_to_draw();
    progress.update(6);
  });
  const std::string cleared = "\r" + std::string(59, ' ') + "\r";
  EXPECT_THAT(seen, HasSubstr("layers: 5/10 layers"));
  EXPECT_THAT(seen, HasSubstr(cleared + "outliers: warning: config.json says\\u202eso\r\n" + "layers: 6/10"));
  EXPECT_THAT(seen, EndsWith(cleared));
  EXPECT_THAT(seen, Not(HasSubstr("\033")));
}

TEST(Progress, IsCutToTheTerminal) {
  const std::string seen = on_terminal(24, [] {
    setenv("TERM", "xterm", 1);
    show_progress_line();
    Progress progress("fetching 日本語/日本語日本語", 10, "MB");
    progress.update(10);
  });
  EXPECT_THAT(seen, testing::StartsWith("fetching 日…: 10/10 MB\r"));
}

TEST(Progress, IsNotDrawnOnADumbTerminal) {
  EXPECT_EQ(on_terminal(80,
                        [] {
                          setenv("TERM", "dumb", 1);
                          show_progress_line();
                          Progress progress("layers", 10, "layers");
                          progress.update(10);
                        }),
            "");
}

TEST(Progress, TellsWhoWatches) {
  std::vector<ProgressState> told;
  const ProgressHandler before = set_progress_handler(
      {.progress = [&](const ProgressState& state) { told.push_back(state); }, .note = {}});
  {
    Progress progress("layers", 4, "layers");
    progress.update(1);  // too soon to be told
    progress.update(4);
  }
  set_progress_handler(before);
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].what, "layers");
  EXPECT_EQ(told[0].total, 4);
  EXPECT_EQ(told[0].done, 4);
  EXPECT_FALSE(told[0].ended);
  EXPECT_TRUE(told[1].ended);
}

TEST(Progress, WhatAHandlerThrowsComesOut) {
  const ProgressHandler before = set_progress_handler(
      {.progress = [](const ProgressState&) { throw std::runtime_error("enough"); }, .note = {}});
  EXPECT_THROW(
      {
        Progress progress("layers", 1, "layers");
        progress.update(1);
      },
      std::runtime_error);
  set_progress_handler(before);
}

}  // namespace
}  // namespace outliers
