#include "bench/ycsb/client_store.h"

#include "common/status_macros.h"

namespace whale::bench::ycsb {
namespace {

// Polls without an answer before the thread sleeps until there is one: about
// as long as a server that is awake takes. On a machine with fewer processors
// than threads a client that spins keeps the servers from answering; one that
// yields instead waits for everybody else's time slice.
constexpr uint32_t kPollsBeforeSleep = 200;

}  // namespace

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
  size_t ran = client_->Poll();
  if (ran == 0 && ++empty_polls_ >= kPollsBeforeSleep && wait_ns > 0) {
    ran = client_->Poll(absl::Nanoseconds(wait_ns));
  }
  if (ran > 0) empty_polls_ = 0;
  return ran;
}

}  // namespace whale::bench::ycsb
