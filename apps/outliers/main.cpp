// The program: parses the command line and turns every failure into one line and an exit code.
#include <cerrno>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <new>
#include <unistd.h>

#include <c10/util/Exception.h>

#include "outliers/core/error.h"
#include "outliers/core/progress_line.h"
#include "outliers/outliers.h"

#include "advice.h"
#include "commands.h"

namespace outliers::apps {
namespace {

int complain(const std::string& message, int code) {
  // What follows from zeros in place of a file that was cut short is no news.
  const std::string cut = file_cut_short();
  std::string line = cut.empty() || code > kUsage ? message : cut;
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  clear_progress_line();
  std::fprintf(stderr, "outliers: error: %s\n", printable(line, std::string::npos).c_str());
  return code;
}

std::string version_text() {
  return fmt::format("outliers {} ({}), LibTorch {}", version(), commit(), libtorch_version());
}

int run(int argc, char** argv) {
  CommandLine line("Finds, locates and explains systematic outliers in transformer checkpoints.",
                   version_text());
  add_report(line);
  add_lifecycle(line);
  add_check(line);
  add_plot(line);
  add_inspect(line);
  add_capture(line);
  add_compare(line);
  add_compare_layers(line);
  add_perplexity(line);
  add_intervene(line);
  add_tokenize(line);
  add_fetch(line);
  add_export(line);
  return line.parse(argc, argv);
}

/// Where the caller has closed one of the three, the next file that is opened would get its number, and what
/// is printed. Reads and writes of what stands in fail as those of a closed one.
void keep_standard_files() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace
}  // namespace outliers::apps

int main(int argc, char** argv) {
  using outliers::apps::complain;
  outliers::apps::keep_standard_files();
  outliers::prepare_process();
  outliers::show_progress_line();
  try {
    return outliers::apps::run(argc, argv);
  } catch (const outliers::Error& error) {
    return complain(outliers::apps::with_options(error), outliers::apps::exit_code(error));
  } catch (const std::bad_alloc&) {
    return complain("out of memory", outliers::apps::kFailure);
  } catch (const c10::Error& error) {
    return complain(fmt::format("LibTorch: {}", error.what_without_backtrace()), outliers::apps::kFailure);
  } catch (const std::exception& error) {
    return complain(error.what(), outliers::apps::kFailure);
  }
}
