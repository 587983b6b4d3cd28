#include "options.h"

#include <sstream>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/core/output.h"
#include "outliers/core/suggest.h"

#include "common.h"

namespace outliers::apps {
namespace {

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

constexpr int kAnyNumber = 1 << 20;

}  // namespace

Option& Option::value(const char* name) {
  option_->type_name(name);
  return *this;
}

Option& Option::by_default(const std::string& text) {
  option_->default_str(text);
  return *this;
}

Option& Option::shows_default() {
  option_->capture_default_str();
  return *this;
}

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}

Option& Option::between(int64_t least, int64_t most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

Option& Option::between(uint64_t least, uint64_t most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

Option& Option::not_negative() {
  // CLI11's own validator prints the largest double in its message.
  const auto problem = [](const std::string& text) {
    double value = 0;
    return CLI::detail::lexical_cast(text, value) && value >= 0 ? "" : text + " is no number of 0 or above";
  };
  option_->check(CLI::Validator(problem, ""));
  return *this;
}

Option& Option::one_of(const std::vector<std::string>& names) {
  option_->check(CLI::IsMember(names, CLI::ignore_case));
  return *this;
}

Option& Option::separated() {
  option_->delimiter(',');
  return *this;
}

Option& Option::several(int least) {
  option_->expected(least, kAnyNumber);
  return *this;
}

Option& Option::one_at_a_time() {
  option_->allow_extra_args(false);
  return *this;
}

bool Option::given() const {
  return option_->count() > 0;
}

std::string Option::name() const {
  return option_->get_name();
}

Option Command::add(const char* names, std::string& value, const std::string& use) {
  return Option(command_->add_option(names, value, use));
}

Option Command::add(const char* names, std::filesystem::path& value, const std::string& use) {
  return Option(command_->add_option(names, value, use));
}

Option Command::add(const char* names, std::vector<std::string>& value, const std::string& use) {
  return Option(command_->add_option(names, value, use));
}

Option Command::add(const char* names, int& value, const std::string& use) {
  return Option(command_->add_option(names, value, use));
}

Option Command::add(const char* names, int64_t& value, const std::string& use) {
  return Option(command_->add_option(names, value, use));
}

Option Command::add(const char* names, uint64_t& value, const std::string& use) {
  return Option(command_->add_option(names, value, use));
}

Option Command::add(const char* names, double& value, const std::string& use) {
  return Option(command_->add_option(names, value, use));
}

Option Command::add(const char* names, std::optional<int64_t>& value, const std::string& use) {
  return Option(command_->add_option(names, value, use));
}

Option Command::add(const char* names, std::optional<double>& value, const std::string& use) {
  return Option(command_->add_option(names, value, use));
}

Option Command::add(const char* names, std::function<void(const std::string&)> take, const std::string& use) {
  return Option(command_->add_option_function<std::string>(names, take, use));
}

Option Command::add_repeated(const char* names, std::function<void(const std::string&)> take,
                             const std::string& use) {
  return Option(command_->add_option_function<std::string>(names, take, use)->trigger_on_parse());
}

Option Command::flag(const char* name, bool& value, const std::string& use) {
  return Option(command_->add_flag(name, value, use));
}

void Command::runs(std::function<void()> action) {
  command_->callback(std::move(action));
}

void Command::returns(std::function<int()> action) {
  command_->callback([code = exit_code_, action = std::move(action)] { *code = action(); });
}

std::vector<std::string> Command::given() const {
  std::vector<std::string> names;
  for (const CLI::Option* option : command_->get_options()) {
    if (option->count() > 0) names.push_back(option->get_name());
  }
  return names;
}

CommandLine::CommandLine(const char* about, const std::string& version)
    : app_(std::make_unique<CLI::App>(about, "outliers")) {
  app_->set_version_flag("--version", version);
  app_->require_subcommand(1);
  app_->failure_message(CLI::FailureMessage::simple);
}

CommandLine::~CommandLine() = default;

Command CommandLine::command(const char* name, const char* about) {
  return {app_->add_subcommand(name, about), exit_code_.get()};
}

int CommandLine::parse(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help and --version
    std::ostringstream text;
    app_->exit(success, text, text);
    print(text.str());
  } catch (const CLI::ParseError& error) {
    throw UsageError(usage_message(error.what()));
  }
  return *exit_code_;
}

/// What is wrong with the command line, in one line that says what to do.
std::string CommandLine::usage_message(const std::string& error) const {
  const CLI::App* command = given_command(*app_);
  if (command == nullptr) {
    for (const std::string& word : app_->remaining()) {
      const bool option = word.rfind('-', 0) == 0;
      const std::string hint = question(word, option ? option_names(*app_) : command_names(*app_));
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
  return fmt::format("{}; see outliers {} --help", error, command->get_name());
}

}  // namespace outliers::apps
