// The `shm` provider: processes of one host over shared memory.
//
// A WRITE is a copy into the peer's memory while it is posted, a message is
// written straight into the peer's ring; the kernel takes part only in
// connecting, in handing over descriptors, and in waking who sleeps. Peers are
// processes of the same user (or root), on one machine; they may die at any
// instruction, and what they send is not believed. docs/memory_model.md says
// what a WRITE's completion means here: visible, and durable in the domain
// `process`.
//
// Thread-safety: as Fabric. Ownership: all memory is by descriptor; nothing is
// left behind by kill -9 but the socket and its lock file, which the next
// listener there removes.
#ifndef WHALE_FABRIC_SHM_SHM_FABRIC_H_
#define WHALE_FABRIC_SHM_SHM_FABRIC_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "fabric/fabric.h"

namespace whale::fabric {

struct ShmOptions {
  // Where to listen, e.g. DIR/run/server-1.sock; empty: only connects. A
  // fabric that listens is a server: peers accept its files, not just memfds.
  std::string listen_path;
  // Of the message ring of each direction; a power of two from 32 KiB.
  size_t ring_bytes = 256 * 1024;
  uint32_t max_connections = 1024;
  // Requests of one connection that may be posted and not yet completed.
  uint32_t send_queue_depth = 1024;
  // How long Revoke waits for a peer that is copying just now. A stopped one
  // is not waited for.
  int64_t revoke_wait_us = 20'000;
  // A peer that has connected must say hello, and one that was called must
  // answer, within this time; about as much may pass before it is noticed.
  int64_t handshake_us = 5'000'000;
};

// Errors: kInvalidArgument (options, path too long), kFailedPrecondition
// (address in use), kNotFound (directory), kPermissionDenied,
// kResourceExhausted (descriptors, memory).
absl::StatusOr<std::unique_ptr<Fabric>> CreateShmFabric(
    const ShmOptions& options);

}  // namespace whale::fabric

#endif  // WHALE_FABRIC_SHM_SHM_FABRIC_H_
