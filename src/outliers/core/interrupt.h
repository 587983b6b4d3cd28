// Ctrl-C and SIGTERM: a flag that long loops poll, so that temporary files are removed on the way out.
#pragma once

namespace outliers {

/// Installs the handlers. A second signal ends the process at once.
void install_interrupt_handlers();

/// Throws Interrupted when a signal has arrived. Call between layers, files and other steps of long work.
void check_interrupt();

}  // namespace outliers
