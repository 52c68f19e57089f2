#include "fabric/fabric.h"

namespace whale::fabric {

std::string_view FlushMethodName(FlushMethod method) {
  switch (method) {
    case FlushMethod::kNone:
      return "none";
    case FlushMethod::kNativeFlush:
      return "native flush";
    case FlushMethod::kReadAfterWrite:
      return "read after write";
    case FlushMethod::kReceiverFlush:
      return "receiver flush";
  }
  return "unknown";
}

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kCanceled:
      return "canceled";
    case Outcome::kRemoteAccess:
      return "remote access refused";
    case Outcome::kRemoteError:
      return "remote error";
    case Outcome::kLocalError:
      return "local error";
  }
  return "unknown";
}

std::string_view OpcodeName(Opcode opcode) {
  switch (opcode) {
    case Opcode::kWrite:
      return "WRITE";
    case Opcode::kWriteWithImm:
      return "WRITE_WITH_IMM";
    case Opcode::kRead:
      return "READ";
    case Opcode::kCompareSwap:
      return "CAS";
    case Opcode::kRemoteFlush:
      return "FLUSH";
  }
  return "unknown";
}

std::string_view EventKindName(EventKind kind) {
  switch (kind) {
    case EventKind::kCompleted:
      return "completed";
    case EventKind::kReceived:
      return "received";
    case EventKind::kReceivedImm:
      return "received immediate";
    case EventKind::kConnectRequest:
      return "connect request";
    case EventKind::kConnected:
      return "connected";
    case EventKind::kConnectFailed:
      return "connect failed";
    case EventKind::kDisconnected:
      return "disconnected";
  }
  return "unknown";
}

}  // namespace whale::fabric
