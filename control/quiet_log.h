// Included by the .cc files that use gRPC only.
#ifndef WHALE_CONTROL_QUIET_LOG_H_
#define WHALE_CONTROL_QUIET_LOG_H_

#include <grpc/support/log.h>

#include <cstdlib>

namespace whale::control {

// gRPC writes to standard error what is an answer to somebody here (a port in
// use, garbage from a peer). Whoever asks for its log gets it.
inline void QuietLog() {
  if (std::getenv("GRPC_VERBOSITY") == nullptr) {
    gpr_set_log_function([](gpr_log_func_args*) {});
  }
}

}  // namespace whale::control

#endif  // WHALE_CONTROL_QUIET_LOG_H_
