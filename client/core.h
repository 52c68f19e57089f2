// The client's core: operations in, requests and replies on the fabric, results
// out. One thread, no clock of its own; the same code in the SDK and in the
// simulator.
//
// It keeps the map, one connection per server, one session, and every
// unfinished operation; retries with the same request number until the
// operation's deadline, so that a write has one effect (protocol, section 9).
//
// Thread-safety: none. Ownership: everything passed in outlives the core;
// callbacks run inside Step().
#ifndef WHALE_CLIENT_CORE_H_
#define WHALE_CLIENT_CORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "fabric/fabric.h"
#include "proto/control.pb.h"

namespace whale::client {

// Asks the coordinator; answers come back through Core::OnMap, OnMapError and
// OnSession, never inside these calls. An answer that is lost is asked for
// again after a while.
class MapSource {
 public:
  virtual ~MapSource() = default;
  // The newest map; if `known_version` is the newest, a later answer is fine.
  virtual void RequestMap(uint64_t known_version) = 0;
  virtual void RequestSession() = 0;
};

enum class OperationType : uint8_t {
  kGet,
  kPut,
  kDelete,
  kCompareAndPut,
  kDeleteIf,
  kWaitReplicated
};
enum class ReadLevel : uint8_t { kLinearizable, kSession, kStale };

struct Operation {
  OperationType type = OperationType::kGet;
  std::string_view key;    // copied by Submit
  std::string_view value;  // copied by Submit
  uint64_t expected_version = 0;
  bool full_durability = false;
  ReadLevel read_level = ReadLevel::kLinearizable;
  bool any_replica = false;  // reads: spread over the replicas
  uint32_t replica = 0;      // reads: not 0: this server and no other (tests)
  int64_t timeout_ns = 5'000'000'000;
};

struct OperationResult {
  // Codes: see docs in whale/client.h. kNotFound and kFailedPrecondition are
  // answers, not failures.
  absl::Status status;
  std::string value;     // gets
  uint64_t version = 0;  // of the key; also of a failed compare (0: absent)
  uint32_t copies = 0;   // writes
};

struct CoreOptions {
  uint32_t max_in_flight = 256;      // writes per shard; more wait their turn
  uint64_t buffer_bytes = 16 << 20;  // registered, for large values
  uint64_t inline_value_max_bytes = 4096;
  uint64_t seed = 1;  // jitter
};

class Core {
 public:
  Core(const CoreOptions& options, fabric::Fabric* fabric, Clock* clock,
       MapSource* maps);
  ~Core();

  // `done` runs once, inside Step(), unless the core is destroyed first. It may
  // Submit, but not Step.
  void Submit(const Operation& operation,
              absl::AnyInvocable<void(OperationResult)> done);
  // Sends, receives, retries, expires. Returns how many callbacks ran.
  size_t Step();
  // When Step must be called at the latest, even if the fabric stays silent.
  int64_t NextDeadlineNs() const;
  // Operations whose callback has not run.
  size_t in_flight() const;

  // A map that is not newer than the one known only ends the question.
  void OnMap(const proto::ClusterMap& map);
  // The coordinator could not be asked, for a map or a session.
  void OnMapError(const absl::Status& status);
  void OnSession(uint64_t session, int64_t lease_ns);
  const proto::ClusterMap& map() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace whale::client

#endif  // WHALE_CLIENT_CORE_H_
