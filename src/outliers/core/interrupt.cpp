#include "outliers/core/interrupt.h"

#include <csignal>

#include "outliers/core/error.h"

namespace outliers {
namespace {

volatile std::sig_atomic_t g_signal = 0;

void on_signal(int signal) {
  g_signal = signal;
  std::signal(signal, SIG_DFL);
}

}  // namespace

void install_interrupt_handlers() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

void check_interrupt() {
  if (g_signal != 0) throw Interrupted(g_signal);
}

}  // namespace outliers
