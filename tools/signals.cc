#include "tools/signals.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace whale::tools {
namespace {

sigset_t OurSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

}  // namespace

void BlockSignals() {
  const sigset_t set = OurSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int WaitForSignal(absl::Duration timeout) {
  const sigset_t set = OurSignals();
  const timespec t = absl::ToTimespec(std::min(timeout, absl::Hours(24 * 365)));
  const int signal = sigtimedwait(&set, nullptr, &t);
  return std::max(signal, 0);
}

void RequestStop() { kill(getpid(), SIGTERM); }

}  // namespace whale::tools
