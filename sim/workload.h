// Clients that do random things to few keys and write down what they saw.
//
// Each client keeps several asynchronous operations in flight. Every value
// written is unique: it begins with its name, the rest follows from the name,
// and every value read is checked against that, so the history holds names
// only. Clients can be killed: their unfinished operations then have an
// unknown outcome.
//
// Thread-safety: none. Ownership: cluster and history outlive the workload.
#ifndef WHALE_SIM_WORKLOAD_H_
#define WHALE_SIM_WORKLOAD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/checkers/history.h"
#include "sim/cluster.h"

namespace whale::sim {

struct WorkloadOptions {
  uint32_t clients = 3;
  uint32_t keys = 6;
  uint32_t in_flight = 8;  // per client
  uint64_t max_value_bytes = 2000;
  uint64_t max_key_bytes = 40;
  int64_t think_ns = 2 * kMillisecond;  // mean pause before the next operation
  int64_t min_timeout_ns = 200 * kMillisecond;
  int64_t max_timeout_ns = 2 * kSecond;
  int64_t max_get_timeout_ns = INT64_MAX;
  // Relative frequencies.
  uint32_t gets = 10, puts = 6, deletes = 1, compares = 2, delete_ifs = 1;
  uint64_t max_written_bytes = UINT64_MAX;  // then only gets
  double any_replica = 0.3;
  double pinned_replica = 0.3;
  double weak = 0.05;
  double full_durability = 0.05;
};

// `name` and then bytes that follow from it, `length_bytes` in all (at least
// the name and one byte).
std::string MakeValue(std::string_view name, size_t length_bytes);
// The name of a value; of bytes that nobody can have written: a text that
// starts with "damaged".
std::string NameOfValue(std::string_view value);

// Keys are of all lengths; the history has what stands before the first dot.
std::string NameOfKey(std::string_view key);

class Workload {
 public:
  Workload(Cluster* cluster, const WorkloadOptions& options,
           checkers::History* history);
  ~Workload();

  void Start();
  // No new operations; those in flight go on.
  void Stop() { stopped_ = true; }
  // Nothing is in flight.
  bool Quiet() const;
  // The client with this position dies, and a new one takes its place.
  void RestartClient(size_t position);
  size_t client_count() const { return clients_.size(); }
  ClientNode& client(size_t position) { return *clients_[position].node; }
  const std::vector<std::string>& keys() const { return keys_; }
  uint64_t operations() const { return operations_; }
  uint64_t answered() const { return answered_; }

  // One operation of the client at `position`, recorded in the history;
  // `done` gets its number there.
  void Submit(size_t position, const client::Operation& operation,
              std::string_view value_name, bool final_read,
              std::function<void(size_t number)> done);

 private:
  struct Client {
    std::shared_ptr<ClientNode> node;
    std::shared_ptr<bool> alive;
    uint32_t number = 0;
    uint32_t in_flight = 0;
  };

  void Next(size_t position);
  void SubmitRandom(size_t position);
  void Finish(size_t number, const client::OperationResult& result);
  int64_t Stamp();

  Cluster* const cluster_;
  World* const world_;
  const WorkloadOptions options_;
  checkers::History* const history_;
  std::vector<std::string> keys_;
  // A version that some client was told, by name of the key.
  std::map<std::string, uint64_t> seen_versions_;
  std::vector<Client> clients_;
  bool stopped_ = false;
  uint32_t next_client_number_ = 1;
  uint64_t next_value_ = 1;
  uint64_t operations_ = 0;
  uint64_t answered_ = 0;
  uint64_t written_bytes_ = 0;
  int64_t last_stamp_ = 0;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_WORKLOAD_H_
