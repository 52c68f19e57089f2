// The workload's store on Redis: a write is SET followed by WAIT, so that it
// is answered when the primary and its replicas have it in memory.
//
// One operation at a time per connection: that is how Redis serves many
// operations in flight that must each be replicated, because WAIT blocks its
// connection. With `gather`, instead, all writes handed over between two polls
// go out on the first connection as one pipeline with a single WAIT: what an
// application can do that needs no answers one by one.
//
// Requests and answers are composed and checked by hand, without a client
// library: the driver shares the processors with Redis, so whatever it saves
// is Redis's. Answers are of known length. One send and one receive per
// operation (or gathered batch); with one connection no epoll either.
//
// Source: Redis protocol specification, RESP2.
// Thread-safety: none; one per thread.
#ifndef WHALE_BENCH_PEERS_REDIS_STORE_H_
#define WHALE_BENCH_PEERS_REDIS_STORE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/ycsb/store.h"

namespace whale::bench::peers {

struct RedisOptions {
  uint16_t port = 6379;      // on 127.0.0.1
  uint32_t connections = 1;  // no fewer than operations in flight, or gather
  bool gather = false;
  uint32_t wait_replicas = 2;  // 0: SET alone
  uint64_t value_bytes = 100;  // of every value read
};

class RedisStore final : public ycsb::Store {
 public:
  // Errors: kUnavailable (no Redis there).
  static absl::StatusOr<std::unique_ptr<ycsb::Store>> Open(
      const RedisOptions& options);
  ~RedisStore() override;
  RedisStore(const RedisStore&) = delete;
  RedisStore& operator=(const RedisStore&) = delete;

  void Read(std::string_view key, ReadDone done) override;
  void Write(std::string_view key, std::string_view value,
             WriteDone done) override;
  // Waits for at least one answer if any is due, whatever `wait_ns`: for closed
  // loops only. After an answer that is not the expected one, all that is in
  // flight fails, and all later operations.
  size_t Poll(int64_t wait_ns) override;

 private:
  // One operation whose answer is due; exactly one callback is set.
  struct Due {
    ReadDone read;
    WriteDone write;
  };
  struct Connection {
    int fd = -1;
    std::string out;          // gathered, not yet sent
    bool out_writes = false;  // something in `out` asks for WAIT
    std::string in;           // answers as far as they have come
    size_t expected = 0;      // bytes of answers due
    bool waits = false;       // the last of them is WAIT's
    std::deque<Due> due;
  };

  explicit RedisStore(const RedisOptions& options);
  absl::Status Connect();
  Connection& Claim();
  void Submit(Connection* connection, bool write);
  void Send(Connection* connection);
  size_t WaitForAny();
  size_t Receive(Connection* connection);
  absl::Status CheckWait(const Connection& connection) const;
  size_t Answer(Connection* connection);
  size_t Fail(const std::string& what);

  const RedisOptions options_;
  const std::string value_head_;   // "$100\r\n"
  const std::string wait_;         // the whole WAIT command
  const std::string wait_answer_;  // ":2\r\n"
  int epoll_ = -1;
  absl::Status broken_;
  std::vector<Connection> connections_;
  std::vector<uint32_t> idle_;
  size_t in_flight_ = 0;
};

}  // namespace whale::bench::peers

#endif  // WHALE_BENCH_PEERS_REDIS_STORE_H_
