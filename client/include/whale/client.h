// Whale's C++ SDK: a client of one cluster.
//
//   auto client = whale::Client::Connect({.coordinators = {"10.0.0.1:7400"}});
//   if (!client.ok()) return client.status();
//   auto put = (*client)->Put("key", "value");
//   auto got = (*client)->Get("key");  // got->value, got->version
//
// Per key, all operations of all clients are linearizable, whichever replica
// serves them. A call is retried by the client, across failures of servers,
// until its timeout; a write takes effect once, however often it is retried.
//
// Keys have 1 B to 4 KiB and values 0 B to 4 MiB, of any bytes.
//
// Errors, for every call:
//   kInvalidArgument     a limit is broken; the message names it
//   kNotFound            get, delete: the key is not there (an answer, not a
//                        failure)
//   kFailedPrecondition  compare: the key has another version, which the
//                        message names (an answer, not a failure)
//   kUnavailable         nothing happened; a server or the value is out of
//                        reach, the message says which and why
//   kResourceExhausted   nothing happened; the cluster is full or behind
//   kDeadlineExceeded    reads: no answer in time. Writes: the outcome is
//                        unknown, the write may have been carried out or may
//                        still be; read the key to learn it
//   kDataLoss            the key's value was lost with a server and the
//                        operator has given it up; a put or delete of the key
//                        ends that
//
// Thread-safety: a client belongs to one thread at a time; open one per
// thread. Ownership: arguments are copied before a call returns. Progress:
// asynchronous calls go on, and expire, only inside Poll() and the synchronous
// calls; their callbacks run only inside Poll().
#ifndef WHALE_CLIENT_H_
#define WHALE_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace whale {

struct ClientOptions {
  // HOST:PORT of the coordinators; any of them that answers will do.
  std::vector<std::string> coordinators = {"127.0.0.1:7400"};
  // Per call, retries included; also of Connect.
  absl::Duration timeout = absl::Seconds(5);
  // "auto" takes the one that the servers use. Any other name must be theirs.
  std::string fabric = "auto";
  // Of the fabric verbs: what it shall not choose by itself, such as
  // "device=mlx5_0,gid-index=3" (docs/rdma.md has all).
  std::string verbs;
  // Registered memory for values that do not fit into a message. Bounds how
  // many of them are on their way at a time; more wait.
  uint64_t buffer_bytes = 16 << 20;
  // PEM files for TLS to the coordinators: who signed theirs, own certificate
  // and its key; all empty: plaintext, on loopback only unless that is allowed.
  std::string tls_ca_file, tls_certificate_file, tls_key_file;
  bool allow_plaintext = false;
  // What this client may do; empty where the coordinators ask for none.
  std::string token;
};

enum class Durability {
  kCommitted,   // survives what the cluster promises (`whale status` says what)
  kReplicated,  // every replica holds the value
};

enum class Consistency {
  kLinearizable,
  kSession,  // at least what this client has seen
  kStale,    // whatever the replica has applied
};

struct WriteOptions {
  Durability durability = Durability::kCommitted;
};

struct ReadOptions {
  Consistency consistency = Consistency::kLinearizable;
  // Spread over the replicas instead of asking the primary.
  bool any_replica = false;
  // Not 0: ask this server and no other. For checks and diagnosis.
  uint32_t replica = 0;
};

struct WriteResult {
  uint64_t version;  // of the key from now on; grows with every write of it
  int copies;        // durable copies of the value at this moment
};

struct ReadResult {
  std::string value;
  uint64_t version;
};

class Client {
 public:
  using WriteDone = absl::AnyInvocable<void(absl::StatusOr<WriteResult>)>;
  using ReadDone = absl::AnyInvocable<void(absl::StatusOr<ReadResult>)>;
  using WaitDone = absl::AnyInvocable<void(absl::Status)>;

  // Asks a coordinator for the cluster's map; connections to servers are
  // opened with the first call that needs them.
  // Errors: kUnavailable (no coordinator answers, or the cluster is still
  // being set up, within the timeout), kInvalidArgument (options),
  // kFailedPrecondition (another protocol version, or another fabric than the
  // servers'), kUnimplemented (this library lacks the servers' fabric).
  static absl::StatusOr<std::unique_ptr<Client>> Connect(
      const ClientOptions& options);
  // Unfinished asynchronous calls end without a callback; the outcome of
  // writes among them is unknown.
  ~Client();

  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  absl::StatusOr<WriteResult> Put(std::string_view key, std::string_view value,
                                  const WriteOptions& options = {});
  absl::StatusOr<ReadResult> Get(std::string_view key,
                                 const ReadOptions& options = {});
  // kNotFound when the key is not there.
  absl::StatusOr<WriteResult> Delete(std::string_view key,
                                     const WriteOptions& options = {});
  // Puts only while the key's version is `expected_version`; 0: only if the
  // key is absent. kFailedPrecondition when it differs.
  absl::StatusOr<WriteResult> CompareAndPut(std::string_view key,
                                            uint64_t expected_version,
                                            std::string_view value,
                                            const WriteOptions& options = {});
  // Deletes only while the key's version is `expected_version`.
  // kFailedPrecondition when it differs.
  absl::StatusOr<WriteResult> DeleteIf(std::string_view key,
                                       uint64_t expected_version,
                                       const WriteOptions& options = {});

  // One result per key, in order; each key fails on its own. The gets are on
  // their way at the same time and are not one snapshot.
  absl::StatusOr<std::vector<absl::StatusOr<ReadResult>>> MultiGet(
      std::span<const std::string_view> keys, const ReadOptions& options = {});

  // Returns when all replicas hold every write this client has been
  // acknowledged. kDeadlineExceeded or kUnavailable: not yet.
  absl::Status WaitReplicated(absl::Duration timeout);

  // The same without waiting: any number of operations on their way from one
  // thread. Operations that are on their way together may take effect in any
  // order. `done` runs once, inside Poll(); it may call the client, but not
  // destroy it.
  void PutAsync(std::string_view key, std::string_view value,
                const WriteOptions& options, WriteDone done);
  void GetAsync(std::string_view key, const ReadOptions& options,
                ReadDone done);
  void DeleteAsync(std::string_view key, const WriteOptions& options,
                   WriteDone done);
  void CompareAndPutAsync(std::string_view key, uint64_t expected_version,
                          std::string_view value, const WriteOptions& options,
                          WriteDone done);
  void DeleteIfAsync(std::string_view key, uint64_t expected_version,
                     const WriteOptions& options, WriteDone done);
  void WaitReplicatedAsync(absl::Duration timeout, WaitDone done);

  // Sends and receives, then runs the callbacks of finished operations;
  // returns how many ran. Never blocks.
  size_t Poll();
  // The same, but waits until there is a callback to run, at most `wait`. With
  // nothing on its way it returns at once.
  size_t Poll(absl::Duration wait);
  // Asynchronous operations whose callback has not run yet.
  size_t in_flight() const;

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace whale

#endif  // WHALE_CLIENT_H_
