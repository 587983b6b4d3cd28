// The subcommands: each turns its options into one library call, files and a summary. No arithmetic here.
#pragma once

#include "options.h"

namespace outliers::apps {

// Each adds its subcommand with options and help.
void add_report(CommandLine& line);
void add_lifecycle(CommandLine& line);
void add_check(CommandLine& line);
void add_plot(CommandLine& line);
void add_inspect(CommandLine& line);
void add_capture(CommandLine& line);
void add_compare(CommandLine& line);
void add_compare_layers(CommandLine& line);
void add_intervene(CommandLine& line);
void add_perplexity(CommandLine& line);
void add_tokenize(CommandLine& line);
void add_fetch(CommandLine& line);
void add_export(CommandLine& line);

}  // namespace outliers::apps
