#include "control/etcd_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "control/file_store.h"
#include "control/leases.h"

namespace whale::control {
namespace {

constexpr absl::Duration kCall = absl::Seconds(3);
constexpr absl::Duration kLookAgain = absl::Milliseconds(200);

void CompareCreated(const std::string& key, int64_t revision,
                    etcdserverpb::TxnRequest* request) {
  etcdserverpb::Compare* compare = request->add_compare();
  compare->set_target(etcdserverpb::Compare::CREATE);
  compare->set_key(key);
  compare->set_create_revision(revision);
}

void CompareModified(const std::string& key, int64_t revision,
                     etcdserverpb::TxnRequest* request) {
  etcdserverpb::Compare* compare = request->add_compare();
  compare->set_target(etcdserverpb::Compare::MOD);
  compare->set_key(key);
  compare->set_mod_revision(revision);
}

void AddPut(const std::string& key, std::string value, int64_t lease,
            etcdserverpb::RequestOp* operation) {
  etcdserverpb::PutRequest* put = operation->mutable_request_put();
  put->set_key(key);
  put->set_value(std::move(value));
  put->set_lease(lease);
}

}  // namespace

EtcdStore::EtcdStore(std::unique_ptr<EtcdClient> client,
                     const StoreOptions& options, std::string name)
    : client_(std::move(client)),
      options_(options),
      name_(std::move(name)),
      leader_key_(options.prefix + "/leader"),
      state_key_(options.prefix + "/state"),
      keeper_([this] { KeepLeading(); }) {}

EtcdStore::~EtcdStore() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  keeper_.join();
  // Others need not wait for it to run out.
  if (lease_ != 0) client_->RevokeLease(lease_, absl::Seconds(1)).IgnoreError();
}

void EtcdStore::NoteTerm(int64_t asked_ns, int64_t seconds) {
  const int64_t term_ns = seconds * 1'000'000'000;
  leads_until_ns_ = asked_ns + term_ns - term_ns / Leases::kDriftDivisor;
}

void EtcdStore::KeepLeading() {
  const auto interval = absl::ToChronoNanoseconds(options_.term / 4);
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, interval, [this] { return stopping_; })) {
    const int64_t lease = lease_;
    if (lease == 0) continue;
    lock.unlock();
    const int64_t asked_ns = options_.clock->NowNs();
    const auto seconds = client_->KeepLease(lease, options_.term / 2);
    lock.lock();
    if (!seconds.ok() || lease != lease_) continue;
    if (*seconds > 0 && leader_since_ != 0) {
      NoteTerm(asked_ns, *seconds);
    } else if (*seconds == 0) {
      lease_ = 0;  // gone, and our leadership with it
    }
  }
}

absl::Status EtcdStore::EnsureLease(absl::Duration timeout) {
  if (lease_ != 0) return absl::OkStatus();
  WHALE_ASSIGN_OR_RETURN(
      const etcdserverpb::LeaseGrantResponse lease,
      client_->GrantLease(
          std::max<int64_t>(1, absl::ToInt64Seconds(options_.term)), timeout));
  lease_ = lease.id();
  return absl::OkStatus();
}

absl::StatusOr<bool> EtcdStore::TryToLead(absl::Duration timeout,
                                          std::string* leader) {
  WHALE_RETURN_IF_ERROR(EnsureLease(timeout));
  const int64_t lease = lease_;
  etcdserverpb::TxnRequest request;
  CompareCreated(leader_key_, 0, &request);  // there is none
  AddPut(leader_key_, options_.advertise, lease, request.add_success());
  for (auto* operations :
       {request.mutable_success(), request.mutable_failure()}) {
    operations->Add()->mutable_request_range()->set_key(leader_key_);
  }
  WHALE_ASSIGN_OR_RETURN(const etcdserverpb::TxnResponse response,
                         client_->Txn(request, timeout));
  const etcdserverpb::RangeResponse& found =
      response.responses(response.responses_size() - 1).response_range();
  // Ours may be there from an attempt whose answer was lost.
  const bool ours = !found.kvs().empty() && found.kvs(0).lease() == lease;
  if (!ours) {
    *leader = found.kvs().empty() ? "" : found.kvs(0).value();
    return false;
  }
  const int64_t asked_ns = options_.clock->NowNs();
  WHALE_ASSIGN_OR_RETURN(const int64_t seconds,
                         client_->KeepLease(lease, timeout));
  if (seconds <= 0) {
    lease_ = 0;
    return false;
  }
  const std::lock_guard lock(mutex_);
  leader_since_ = found.kvs(0).create_revision();
  NoteTerm(asked_ns, seconds);
  return true;
}

absl::StatusOr<bool> EtcdStore::Campaign(absl::Duration timeout,
                                         std::string* leader) {
  const absl::Time deadline = absl::Now() + timeout;
  {
    // Of an earlier term nothing counts.
    const std::lock_guard lock(mutex_);
    leader_since_ = 0;
    leads_until_ns_ = 0;
  }
  while (true) {
    const absl::StatusOr<bool> leads =
        TryToLead(std::max(deadline - absl::Now(), kLookAgain), leader);
    if (!leads.ok() || *leads) return leads;
    if (absl::Now() + kLookAgain >= deadline) return false;
    absl::SleepFor(kLookAgain);
  }
}

absl::StatusOr<std::optional<proto::StoredState>> EtcdStore::Take(
    const etcdserverpb::RangeResponse& response) {
  if (response.kvs().empty()) {
    state_revision_ = 0;
    return std::optional<proto::StoredState>();
  }
  auto state = DecodeStateFile(response.kvs(0).value());
  if (!state.ok()) {
    return absl::Status(state.status().code(),
                        absl::StrCat(state_key_, " in ", name_, ": ",
                                     std::string(state.status().message())));
  }
  state_revision_ = response.kvs(0).mod_revision();
  return std::optional<proto::StoredState>(*std::move(state));
}

absl::StatusOr<std::optional<proto::StoredState>> EtcdStore::Load() {
  etcdserverpb::RangeRequest request;
  request.set_key(state_key_);
  WHALE_ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse response,
                         client_->Range(request, kCall));
  return Take(response);
}

absl::Status EtcdStore::CompareAndSwap(uint64_t expected_revision,
                                       const proto::StoredState& next) {
  const std::string bytes = EncodeStateFile(next);
  etcdserverpb::TxnRequest request;
  CompareCreated(leader_key_, leader_since_, &request);
  CompareModified(state_key_, state_revision_, &request);
  AddPut(state_key_, bytes, 0, request.add_success());
  for (auto* operations :
       {request.mutable_success(), request.mutable_failure()}) {
    operations->Add()->mutable_request_range()->set_key(state_key_);
  }
  WHALE_ASSIGN_OR_RETURN(const etcdserverpb::TxnResponse response,
                         client_->Txn(request, kCall));
  const etcdserverpb::RangeResponse& found =
      response.responses(response.responses_size() - 1).response_range();
  const bool stored = !found.kvs().empty() && found.kvs(0).value() == bytes;
  if (response.succeeded() || stored) {
    state_revision_ = found.kvs(0).mod_revision();
    return absl::OkStatus();
  }
  return absl::AbortedError(
      absl::StrCat(name_, ": revision ", expected_revision,
                   " is not the newest, or the leadership is lost"));
}

}  // namespace whale::control
