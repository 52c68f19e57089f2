// Waiting for SIGINT, SIGTERM and SIGCHLD in the main thread.
//
// Block them before any thread starts: threads inherit the mask, and nobody
// else then receives them.
#ifndef WHALE_TOOLS_SIGNALS_H_
#define WHALE_TOOLS_SIGNALS_H_

#include "absl/time/time.h"

namespace whale::tools {

// Also ignores SIGPIPE: a closed pipe is an error of the write.
void BlockSignals();
// The next of the signals, or 0 when none came in time.
int WaitForSignal(absl::Duration timeout);
// Ends a WaitForSignal of this process as if SIGTERM had come.
void RequestStop();

}  // namespace whale::tools

#endif  // WHALE_TOOLS_SIGNALS_H_
