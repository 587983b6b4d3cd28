// The command line: commands and their options. The one face of CLI11, whose headers and templates are
// compiled in options.cpp alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace outliers::apps {

/// One option of a command; copies are the same option.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  /// What --help calls its value: "FILE".
  Option& value(const char* name);
  /// What --help calls its default.
  Option& by_default(const std::string& text);
  /// The default is what the variable holds now.
  Option& shows_default();
  Option& required();
  Option& excludes(const Option& other);
  Option& between(int64_t least, int64_t most);
  Option& between(uint64_t least, uint64_t most);
  /// A number of 0 or above.
  Option& not_negative();
  /// One of these words, in any case.
  Option& one_of(const std::vector<std::string>& names);
  /// Values with commas between.
  Option& separated();
  /// So many values or more, as words of their own.
  Option& several(int least);
  /// One value each time that it is given.
  Option& one_at_a_time();

  bool given() const;
  std::string name() const;

 private:
  CLI::Option* option_;
};

/// A subcommand.
class Command {
 public:
  Command(CLI::App* command, int* exit_code) : command_(command), exit_code_(exit_code) {}

  // The variable has to live until the command has run. names: "-o,--output", "MODEL" for an argument.
  Option add(const char* names, std::string& value, const std::string& use);
  Option add(const char* names, std::filesystem::path& value, const std::string& use);
  Option add(const char* names, std::vector<std::string>& value, const std::string& use);
  Option add(const char* names, int& value, const std::string& use);
  Option add(const char* names, int64_t& value, const std::string& use);
  Option add(const char* names, uint64_t& value, const std::string& use);
  Option add(const char* names, double& value, const std::string& use);
  Option add(const char* names, std::optional<int64_t>& value, const std::string& use);
  Option add(const char* names, std::optional<double>& value, const std::string& use);
  /// An option whose text is handed on.
  Option add(const char* names, std::function<void(const std::string&)> take, const std::string& use);
  /// The same for one that may be given again and again, in the order of the command line.
  Option add_repeated(const char* names, std::function<void(const std::string&)> take,
                      const std::string& use);
  Option flag(const char* name, bool& value, const std::string& use);

  /// What the command does once all options are read.
  void runs(std::function<void()> action);
  /// The same, and what it returns is the program's exit code.
  void returns(std::function<int()> action);
  /// The names of the options and arguments that are on the command line.
  std::vector<std::string> given() const;

 private:
  CLI::App* command_;
  int* exit_code_;
};

/// The program's commands.
class CommandLine {
 public:
  CommandLine(const char* about, const std::string& version);
  ~CommandLine();

  Command command(const char* name, const char* about);
  /// Runs the command that is given, or prints --help or --version; the exit code. Throws UsageError: one
  /// line with the nearest known name.
  int parse(int argc, char** argv);

 private:
  std::string usage_message(const std::string& error) const;
  std::unique_ptr<CLI::App> app_;
  std::unique_ptr<int> exit_code_ = std::make_unique<int>(0);
};

}  // namespace outliers::apps
