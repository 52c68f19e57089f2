// The workload's store on a cluster: one client of the SDK.
//
// Thread-safety: none; one per thread.
#ifndef WHALE_BENCH_YCSB_CLIENT_STORE_H_
#define WHALE_BENCH_YCSB_CLIENT_STORE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "bench/ycsb/store.h"
#include "whale/client.h"

namespace whale::bench::ycsb {

struct ClientStoreOptions {
  ClientOptions client;
  ReadOptions read;
  WriteOptions write;
};

class ClientStore final : public Store {
 public:
  static absl::StatusOr<std::unique_ptr<Store>> Open(
      const ClientStoreOptions& options);

  void Read(std::string_view key, ReadDone done) override;
  void Write(std::string_view key, std::string_view value,
             WriteDone done) override;
  size_t Poll(int64_t wait_ns) override;

 private:
  ClientStore(const ClientStoreOptions& options, std::unique_ptr<Client> client)
      : options_(options), client_(std::move(client)) {}

  const ClientStoreOptions options_;
  std::unique_ptr<Client> client_;
};

}  // namespace whale::bench::ycsb

#endif  // WHALE_BENCH_YCSB_CLIENT_STORE_H_
