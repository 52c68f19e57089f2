#include "bench/ycsb/client_store.h"

#include "common/status_macros.h"

namespace whale::bench::ycsb {

absl::StatusOr<std::unique_ptr<Store>> ClientStore::Open(
    const ClientStoreOptions& options) {
  WHALE_ASSIGN_OR_RETURN(std::unique_ptr<Client> client,
                         Client::Connect(options.client));
  return std::unique_ptr<Store>(new ClientStore(options, std::move(client)));
}

void ClientStore::Read(std::string_view key, ReadDone done) {
  client_->GetAsync(
      key, options_.read,
      [done = std::move(done)](absl::StatusOr<ReadResult> result) mutable {
        if (result.ok()) {
          done(std::move(result->value));
        } else {
          done(result.status());
        }
      });
}

void ClientStore::Write(std::string_view key, std::string_view value,
                        WriteDone done) {
  client_->PutAsync(
      key, value, options_.write,
      [done = std::move(done)](absl::StatusOr<WriteResult> result) mutable {
        done(result.status());
      });
}

size_t ClientStore::Poll(int64_t wait_ns) {
  return client_->Poll(absl::Nanoseconds(wait_ns));
}

}  // namespace whale::bench::ycsb
