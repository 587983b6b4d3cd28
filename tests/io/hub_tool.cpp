// `outliers fetch` without the rest of the program, which takes longer to start than most of these tests to
// run: hub_tool MODEL [--revision R] [--file F], or hub_tool hf://..., prints the paths,
// or one line and the exit code.
#include <csignal>
#include <cstdio>
#include <string>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/progress_line.h"
#include "outliers/io/hub.h"

int main(int argc, char** argv) {
  outliers::install_interrupt_handlers();
  outliers::show_progress_line();
  std::string model, revision, file;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    std::string& value = argument == "--revision" ? revision : argument == "--file" ? file : model;
    value = &value == &model ? argument : argv[++i];
  }
  try {
    if (outliers::io::is_hub_address(model)) {
      for (const auto& path : outliers::io::fetch_data_set(model)) std::puts(path.c_str());
      return 0;
    }
    std::puts(outliers::io::resolve_model(model, revision, file).c_str());
    return 0;
  } catch (const outliers::Error& error) {
    std::fprintf(stderr, "outliers: error: %s\n", error.what());
    if (error.kind() == outliers::ErrorKind::interrupted) return 128 + SIGINT;
    return error.kind() == outliers::ErrorKind::usage ? 2 : 1;
  }
}
