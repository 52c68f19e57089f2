// Included by the .cc files that use gRPC only.
#ifndef WHALE_CONTROL_QUIET_LOG_H_
#define WHALE_CONTROL_QUIET_LOG_H_

#include <grpc/support/log.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace whale::control {

// gRPC writes to standard error what is an answer to somebody here (a port in
// use, garbage from a peer). Whoever asks for its log gets it. What it says
// before it aborts the process is always shown.
inline void QuietLog() {
  if (std::getenv("GRPC_VERBOSITY") != nullptr) return;
  gpr_set_log_function([](gpr_log_func_args* args) {
    const std::string_view message = args->message;
    if (message.starts_with("assertion failed") ||
        message.starts_with("API misuse")) {
      std::fprintf(stderr, "gRPC: %s (%s:%d)\n", args->message, args->file,
                   args->line);
    }
  });
}

}  // namespace whale::control

#endif  // WHALE_CONTROL_QUIET_LOG_H_
