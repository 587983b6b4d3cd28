// Ctrl-C, SIGTERM and SIGHUP: a flag that long loops poll, so that temporary files are removed on the way
// out.
#pragma once

#include <cerrno>
#include <string>

namespace outliers {

/// Installs the handlers; a hang-up that is ignored (nohup) stays so. The first signal ends a call that
/// blocks (open, read, write, wait: EINTR), the second one the process.
void install_interrupt_handlers();

/// Throws Interrupted when a signal has arrived. Call between layers, files and other steps of long work.
void check_interrupt();

/// Remembers that a result is in its place, for what an interrupted command says of it. Safe from any thread.
void note_written(const std::string& what);

/// What a system call gives that a signal may end: throws Interrupted where the program should end, else
/// calls again. errno is the call's.
template <typename Call>
auto interruptible(const Call& call) {
  for (;;) {
    check_interrupt();  // a signal before the call does not end its wait
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace outliers
