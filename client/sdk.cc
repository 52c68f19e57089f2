// whale::Client on top of client::Core: waiting, callbacks, results.
#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "client/coordinator_link.h"
#include "client/core.h"
#include "client/sdk_connect.h"
#include "common/adaptive_spin.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "whale/client.h"

namespace whale {
namespace {

using client::Operation;
using client::OperationResult;
using client::OperationType;
using client::ReadLevel;

// The longest wait of one Poll.
constexpr absl::Duration kDay = absl::Hours(24);

Operation MakeWrite(OperationType type, std::string_view key,
                    const WriteOptions& options) {
  Operation operation;
  operation.type = type;
  operation.key = key;
  operation.full_durability = options.durability == Durability::kReplicated;
  return operation;
}

Operation MakePut(std::string_view key, std::string_view value,
                  const WriteOptions& options) {
  Operation operation = MakeWrite(OperationType::kPut, key, options);
  operation.value = value;
  return operation;
}

Operation MakeCompareAndPut(std::string_view key, uint64_t expected_version,
                            std::string_view value,
                            const WriteOptions& options) {
  Operation operation = MakeWrite(OperationType::kCompareAndPut, key, options);
  operation.expected_version = expected_version;
  operation.value = value;
  return operation;
}

Operation MakeDeleteIf(std::string_view key, uint64_t expected_version,
                       const WriteOptions& options) {
  Operation operation = MakeWrite(OperationType::kDeleteIf, key, options);
  operation.expected_version = expected_version;
  return operation;
}

Operation MakeGet(std::string_view key, const ReadOptions& options) {
  Operation operation;
  operation.type = OperationType::kGet;
  operation.key = key;
  operation.any_replica = options.any_replica;
  operation.replica = options.replica;
  switch (options.consistency) {
    case Consistency::kLinearizable:
      operation.read_level = ReadLevel::kLinearizable;
      break;
    case Consistency::kSession:
      operation.read_level = ReadLevel::kSession;
      break;
    case Consistency::kStale:
      operation.read_level = ReadLevel::kStale;
      break;
  }
  return operation;
}

absl::StatusOr<WriteResult> ToWriteResult(OperationResult result) {
  if (!result.status.ok()) return std::move(result.status);
  return WriteResult{result.version, static_cast<int>(result.copies)};
}

absl::StatusOr<ReadResult> ToReadResult(OperationResult result) {
  if (!result.status.ok()) return std::move(result.status);
  return ReadResult{std::move(result.value), result.version};
}

// An asynchronous call whose callback has not run yet. One of the callbacks is
// set.
struct Call {
  Client::WriteDone write_done;
  Client::ReadDone read_done;
  Client::WaitDone wait_done;
  OperationResult result;
};

}  // namespace

class Client::Impl {
 public:
  Impl(const ClientOptions& options, client::Connected connected)
      : timeout_ns_(absl::ToInt64Nanoseconds(options.timeout)),
        fabric_(std::move(connected.fabric)),
        coordinator_(options.coordinators, client::SecurityOf(options),
                     fabric_.get()),
        core_(CoreOptionsFor(options), fabric_.get(), &core_clock_,
              &coordinator_) {
    core_.OnMap(connected.map);
  }

  // Runs one operation to its end.
  OperationResult Run(Operation operation) {
    operation.timeout_ns = timeout_ns_;
    return RunFor(operation);
  }
  OperationResult RunFor(const Operation& operation) {
    struct Waiting {
      bool done = false;
      OperationResult result;
    } waiting;
    core_.Submit(operation, [&waiting](OperationResult result) {
      waiting.result = std::move(result);
      waiting.done = true;
    });
    StepUntil([&waiting] { return waiting.done; }, INT64_MAX);
    return std::move(waiting.result);
  }

  Call* NewCall() {
    ++in_flight_;
    if (free_calls_.empty()) return &calls_.emplace_back();
    Call* call = free_calls_.back();
    free_calls_.pop_back();
    return call;
  }
  void Start(Operation operation, Call* call) {
    operation.timeout_ns = timeout_ns_;
    StartFor(operation, call);
  }
  void StartFor(const Operation& operation, Call* call) {
    core_.Submit(operation, [this, call](OperationResult result) {
      call->result = std::move(result);
      finished_.push_back(call);
    });
  }

  size_t Poll() {
    Step();
    return RunCallbacks();
  }
  size_t Poll(absl::Duration wait) {
    const int64_t most_ns =
        absl::ToInt64Nanoseconds(std::clamp(wait, absl::ZeroDuration(), kDay));
    StepUntil([this] { return !finished_.empty() || in_flight_ == 0; },
              clock_.NowNs() + most_ns);
    return RunCallbacks();
  }
  size_t in_flight() const { return in_flight_; }

  std::vector<absl::StatusOr<ReadResult>> MultiGet(
      std::span<const std::string_view> keys, const ReadOptions& options) {
    std::vector<OperationResult> results(keys.size());
    size_t left = keys.size();
    for (size_t i = 0; i < keys.size(); ++i) {
      Operation operation = MakeGet(keys[i], options);
      operation.timeout_ns = timeout_ns_;
      core_.Submit(operation, [&, i](OperationResult result) {
        results[i] = std::move(result);
        --left;
      });
    }
    StepUntil([&left] { return left == 0; }, INT64_MAX);
    std::vector<absl::StatusOr<ReadResult>> answers;
    answers.reserve(keys.size());
    for (OperationResult& result : results) {
      answers.push_back(ToReadResult(std::move(result)));
    }
    return answers;
  }

 private:
  static client::CoreOptions CoreOptionsFor(const ClientOptions& options) {
    client::CoreOptions core;
    core.buffer_bytes = options.buffer_bytes;
    core.seed = std::random_device()();
    return core;
  }

  void Step() {
    coordinator_.Deliver(&core_);
    core_.Step();
  }

  // Steps until the condition holds: looks for a while, then sleeps.
  template <typename Condition>
  void StepUntil(Condition condition, int64_t until_ns) {
    while (true) {
      Step();
      const int64_t now_ns = clock_.NowNs();
      if (condition()) {
        spin_.OnWork(now_ns);
        return;
      }
      if (now_ns >= until_ns) return;
      if (spin_.KeepLooking(now_ns)) continue;
      spin_.OnSleep();
      fabric_->Wait(std::min(core_.NextDeadlineNs(), until_ns));
    }
  }

  size_t RunCallbacks() {
    // Those that callbacks add are for the next call; a callback may run some
    // itself, by Poll.
    const size_t most = finished_.size();
    size_t count = 0;
    while (count < most && !finished_.empty()) {
      ++count;
      Call* call = finished_.front();
      finished_.pop_front();
      --in_flight_;
      Call now = std::move(*call);
      *call = Call();
      free_calls_.push_back(call);
      if (now.write_done) {
        now.write_done(ToWriteResult(std::move(now.result)));
      } else if (now.read_done) {
        now.read_done(ToReadResult(std::move(now.result)));
      } else {
        now.wait_done(std::move(now.result.status));
      }
    }
    return count;
  }

  const int64_t timeout_ns_;
  BootClock clock_;
  CoarseBootClock core_clock_;  // timeouts
  std::unique_ptr<fabric::Fabric> fabric_;
  client::CoordinatorLink coordinator_;
  std::deque<Call> calls_;
  std::vector<Call*> free_calls_;
  std::deque<Call*> finished_;
  size_t in_flight_ = 0;
  AdaptiveSpin spin_{&clock_, AdaptiveSpin::kMostNs};
  client::Core core_;  // last: its callbacks know the rest
};

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(
    const ClientOptions& options) {
  WHALE_ASSIGN_OR_RETURN(client::Connected connected,
                         client::ConnectToCluster(options));
  return std::unique_ptr<Client>(
      new Client(std::make_unique<Impl>(options, std::move(connected))));
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

absl::StatusOr<WriteResult> Client::Put(std::string_view key,
                                        std::string_view value,
                                        const WriteOptions& options) {
  return ToWriteResult(impl_->Run(MakePut(key, value, options)));
}

absl::StatusOr<ReadResult> Client::Get(std::string_view key,
                                       const ReadOptions& options) {
  return ToReadResult(impl_->Run(MakeGet(key, options)));
}

absl::StatusOr<WriteResult> Client::Delete(std::string_view key,
                                           const WriteOptions& options) {
  return ToWriteResult(
      impl_->Run(MakeWrite(OperationType::kDelete, key, options)));
}

absl::StatusOr<WriteResult> Client::CompareAndPut(std::string_view key,
                                                  uint64_t expected_version,
                                                  std::string_view value,
                                                  const WriteOptions& options) {
  return ToWriteResult(
      impl_->Run(MakeCompareAndPut(key, expected_version, value, options)));
}

absl::StatusOr<WriteResult> Client::DeleteIf(std::string_view key,
                                             uint64_t expected_version,
                                             const WriteOptions& options) {
  return ToWriteResult(
      impl_->Run(MakeDeleteIf(key, expected_version, options)));
}

absl::StatusOr<std::vector<absl::StatusOr<ReadResult>>> Client::MultiGet(
    std::span<const std::string_view> keys, const ReadOptions& options) {
  return impl_->MultiGet(keys, options);
}

absl::Status Client::WaitReplicated(absl::Duration timeout) {
  Operation operation;
  operation.type = OperationType::kWaitReplicated;
  operation.timeout_ns = absl::ToInt64Nanoseconds(timeout);
  return impl_->RunFor(operation).status;
}

void Client::PutAsync(std::string_view key, std::string_view value,
                      const WriteOptions& options, WriteDone done) {
  Call* call = impl_->NewCall();
  call->write_done = std::move(done);
  impl_->Start(MakePut(key, value, options), call);
}

void Client::GetAsync(std::string_view key, const ReadOptions& options,
                      ReadDone done) {
  Call* call = impl_->NewCall();
  call->read_done = std::move(done);
  impl_->Start(MakeGet(key, options), call);
}

void Client::DeleteAsync(std::string_view key, const WriteOptions& options,
                         WriteDone done) {
  Call* call = impl_->NewCall();
  call->write_done = std::move(done);
  impl_->Start(MakeWrite(OperationType::kDelete, key, options), call);
}

void Client::CompareAndPutAsync(std::string_view key, uint64_t expected_version,
                                std::string_view value,
                                const WriteOptions& options, WriteDone done) {
  Call* call = impl_->NewCall();
  call->write_done = std::move(done);
  impl_->Start(MakeCompareAndPut(key, expected_version, value, options), call);
}

void Client::DeleteIfAsync(std::string_view key, uint64_t expected_version,
                           const WriteOptions& options, WriteDone done) {
  Call* call = impl_->NewCall();
  call->write_done = std::move(done);
  impl_->Start(MakeDeleteIf(key, expected_version, options), call);
}

void Client::WaitReplicatedAsync(absl::Duration timeout, WaitDone done) {
  Call* call = impl_->NewCall();
  call->wait_done = std::move(done);
  Operation operation;
  operation.type = OperationType::kWaitReplicated;
  operation.timeout_ns = absl::ToInt64Nanoseconds(timeout);
  impl_->StartFor(operation, call);
}

size_t Client::Poll() { return impl_->Poll(); }
size_t Client::Poll(absl::Duration wait) { return impl_->Poll(wait); }
size_t Client::in_flight() const { return impl_->in_flight(); }

}  // namespace whale
