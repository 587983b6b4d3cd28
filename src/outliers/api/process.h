// What a program may want for its whole process. The library does none of it by itself.
#pragma once

#include <string>

#include "outliers/core/export.h"

namespace outliers {

struct ProcessOptions {
  /// Ctrl-C, SIGTERM and SIGHUP end what goes on, as ErrorKind::interrupted; the second one ends the process.
  bool interrupts = true;
  /// A file that another program cuts short while it is read is an error, not the end of the process
  /// (SIGBUS).
  bool files_cut_short = true;
  /// LibTorch takes memory for large CPU tensors from blocks that are kept and lie on huge pages.
  bool kept_memory = true;
};

/// Once, before tensors are made.
OUTLIERS_API void prepare_process(const ProcessOptions& options = {});

/// What to say of a file that was cut short while it was read; "" where none was. Other errors may follow
/// from it.
OUTLIERS_API std::string file_cut_short();

}  // namespace outliers
