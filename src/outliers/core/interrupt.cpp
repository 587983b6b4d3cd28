#include "outliers/core/interrupt.h"

#include <csignal>
#include <mutex>
#include <vector>

#include "outliers/core/error.h"

namespace outliers {
namespace {

volatile std::sig_atomic_t g_signal = 0;

void on_signal(int signal) {
  g_signal = signal;
}

struct Written {
  std::mutex mutex;
  std::vector<std::string> names;
};
Written& written() {
  static Written instance;
  return instance;
}

std::string interrupted_message() {
  Written& all = written();
  const std::lock_guard<std::mutex> hold(all.mutex);
  if (all.names.empty()) return "interrupted; nothing was written";
  const size_t more = all.names.size() - 1;
  return fmt::format("interrupted; {}{} was written before", printable(all.names.front(), 400),
                     more == 0 ? "" : fmt::format(" (and {} more)", more));
}

}  // namespace

void install_interrupt_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  // No SA_RESTART: what blocks comes back. The second signal finds the default action.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    if (signal == SIGHUP && sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN)
      continue;
    sigaction(signal, &action, nullptr);
  }
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on files (ulimit -f) fails the write, as a full disk does
}

void check_interrupt() {
  if (g_signal != 0) throw Interrupted(g_signal, interrupted_message());
}

void note_written(const std::string& what) {
  Written& all = written();
  const std::lock_guard<std::mutex> hold(all.mutex);
  all.names.push_back(what);
}

}  // namespace outliers
