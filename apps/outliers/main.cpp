// The program: parses the command line and turns every failure into one line and an exit code.
#include <cerrno>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <new>
#include <sstream>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <c10/util/Exception.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/progress_line.h"
#include "outliers/core/suggest.h"
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

/// The subcommand that was given, or nullptr.
const CLI::App* given_command(const CLI::App& app) {
  const auto given = app.get_subcommands();
  return given.empty() ? nullptr : given.front();
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return names;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string question(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string near = nearest(word, candidates);
  return near.empty() ? "" : fmt::format("; did you mean {}?", near);
}

/// What is wrong with the command line, in one line that says what to do.
std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* command = given_command(app);
  if (command == nullptr) {
    for (const std::string& word : app.remaining()) {
      const bool option = word.rfind('-', 0) == 0;
      const std::string hint = question(word, option ? option_names(app) : command_names(app));
      return fmt::format("unknown {} {}{}", option ? "option" : "command", printable(word),
                         hint.empty() ? "; see outliers --help" : hint);
    }
    return "no command given; see outliers --help";
  }
  for (const std::string& word : command->remaining()) {
    if (word.rfind('-', 0) != 0 || word == "-") continue;
    const std::string name = word.substr(0, word.find('='));
    const std::string hint = question(name, option_names(*command));
    return fmt::format("unknown option {}{}", printable(name),
                       hint.empty() ? fmt::format("; see outliers {} --help", command->get_name()) : hint);
  }
  return fmt::format("{}; see outliers {} --help", error.what(), command->get_name());
}

int run(int argc, char** argv) {
  CLI::App app("Finds, locates and explains systematic outliers in transformer checkpoints.", "outliers");
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  add_report(app);
  add_plot(app);
  add_inspect(app);
  add_capture(app);
  add_compare(app);
  add_compare_layers(app);
  add_tokenize(app);
  add_fetch(app);
  add_export(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help and --version
    std::ostringstream text;
    app.exit(success, text, text);
    print(text.str());
  } catch (const CLI::ParseError& error) {
    return complain(usage_message(app, error), kUsage);
  }
  return 0;
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
