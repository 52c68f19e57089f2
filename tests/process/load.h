// Several client processes on one cluster, and what their histories say.
//
// Thread-safety: none.
#ifndef WHALE_TESTS_PROCESS_LOAD_H_
#define WHALE_TESTS_PROCESS_LOAD_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sim/checkers/history.h"
#include "tests/process/cluster_fixture.h"

namespace whale::process_test {

struct LoadOptions {
  uint64_t seed = 1;
  int clients = 3;
  uint64_t operations = 2000;  // of each client
  uint64_t keys = 4;
  size_t in_flight = 16;
  uint64_t large_share = 10;  // percent
  int64_t timeout_ms = 60'000;
  int64_t rate = 0;  // operations per second of each client; 0: no bound
};

// What every checker says, as test failures; one more if next to no write
// succeeded.
void CheckHistory(const checkers::History& history);

class Load {
 public:
  Load(const Cluster* cluster, const LoadOptions& options);

  // Starts one more client.
  void AddClient();
  size_t clients() const { return clients_.size(); }
  ChildProcess& client(size_t number) { return *clients_[number]; }
  // Waits for all of them; fails the test if one does not finish, unless it
  // was killed by Kill.
  void Finish(int timeout_ms);
  void Kill(size_t number);
  // Tells all clients to begin nothing more.
  void Stop();

  // Operations that clients have begun so far, by the size of their histories.
  uint64_t HistoryBytes() const;

  // All histories, the final reads of `FinalReads` included. Fails the test if
  // a client found something wrong by itself.
  checkers::History Collect() const;
  // Reads every key, linearizably, at every replica; part of the history.
  void FinalReads();
  // CheckHistory of Collect().
  void Check() const;

 private:
  std::string HistoryPath(size_t number) const;

  const Cluster* const cluster_;
  const LoadOptions options_;
  std::vector<std::unique_ptr<ChildProcess>> clients_;
  std::vector<bool> killed_;
};

}  // namespace whale::process_test

#endif  // WHALE_TESTS_PROCESS_LOAD_H_
