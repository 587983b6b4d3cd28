// The subcommands: each turns its options into one library call, files and a summary. No arithmetic here.
#pragma once

#include <CLI/CLI.hpp>

namespace outliers::apps {

// Each adds its subcommand with options and help; its callback runs the command.
void add_report(CLI::App& app);
void add_plot(CLI::App& app);
void add_inspect(CLI::App& app);
void add_capture(CLI::App& app);
void add_compare(CLI::App& app);
void add_compare_layers(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_fetch(CLI::App& app);
void add_export(CLI::App& app);

}  // namespace outliers::apps
