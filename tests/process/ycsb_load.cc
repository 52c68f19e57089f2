#include "tests/process/ycsb_load.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/hash.h"
#include "common/status_macros.h"
#include "tests/process/final_reads.h"
#include "tests/process/history_file.h"
#include "tests/process/load.h"
#include "whale/client.h"

namespace whale::process_test {
namespace {

using bench::ycsb::Phase;
using bench::ycsb::PhaseResult;
using bench::ycsb::Store;

// Stands for each of its bytes: a mangled value is one that nobody wrote.
std::string NameOfYcsbValue(std::string_view value) {
  return absl::StrCat(absl::Hex(HashKey(value)));
}

// One client, whose reads go to whatever replica it chooses.
class RecordingStore final : public Store {
 public:
  RecordingStore(std::unique_ptr<Client> client, const std::string& history,
                 std::atomic<uint64_t>* acknowledged)
      : client_(std::move(client)),
        history_(history),
        acknowledged_(acknowledged) {}

  void Read(std::string_view key, ReadDone done) override {
    const uint64_t number = history_.Invoke(
        {.type = checkers::OperationType::kGet, .key = std::string(key)});
    client_->GetAsync(
        key, {.any_replica = true},
        [this, number,
         done = std::move(done)](absl::StatusOr<ReadResult> result) mutable {
          if (!result.ok()) {
            history_.Failed(number, result.status());
            done(result.status());
            return;
          }
          history_.Answer(number, checkers::Answer::kOk, result->version,
                          NameOfYcsbValue(result->value));
          done(std::move(result->value));
        });
  }

  void Write(std::string_view key, std::string_view value,
             WriteDone done) override {
    const uint64_t number =
        history_.Invoke({.type = checkers::OperationType::kPut,
                         .key = std::string(key),
                         .value = NameOfYcsbValue(value)});
    client_->PutAsync(
        key, value, {},
        [this, number,
         done = std::move(done)](absl::StatusOr<WriteResult> result) mutable {
          if (result.ok()) {
            history_.Answer(number, checkers::Answer::kOk, result->version);
            ++*acknowledged_;
          } else {
            history_.Failed(number, result.status());
          }
          done(result.status());
        });
  }

  size_t Poll(int64_t wait_ns) override {
    return client_->Poll(absl::Nanoseconds(wait_ns));
  }

 private:
  const std::unique_ptr<Client> client_;
  HistoryWriter history_;
  std::atomic<uint64_t>* const acknowledged_;
};

}  // namespace

YcsbLoad::YcsbLoad(const Cluster* cluster) : cluster_(cluster) {
  options_.workload = *bench::ycsb::WorkloadByName("a");
  options_.records = kRecords;
  options_.operations = UINT64_MAX;
  options_.threads = 2;
  options_.pipeline = 16;
  options_.rate = 4000;
}

YcsbLoad::~YcsbLoad() {
  stop_ = true;
  if (run_.joinable()) run_.join();
}

std::string YcsbLoad::HistoryPath(int number) const {
  return absl::StrCat(cluster_->folder(), "/ycsb-history.", number);
}

absl::StatusOr<PhaseResult> YcsbLoad::RunPhase(Phase phase) {
  const auto open = [this](int) -> absl::StatusOr<std::unique_ptr<Store>> {
    WHALE_ASSIGN_OR_RETURN(std::unique_ptr<Client> client,
                           Client::Connect({.coordinators = absl::StrSplit(
                                                cluster_->coordinator(), ','),
                                            .timeout = absl::Seconds(20)}));
    return std::make_unique<RecordingStore>(
        std::move(client), HistoryPath(histories_++), &acknowledged_);
  };
  return bench::ycsb::RunPhase(
      phase, options_, open, &sequence_,
      [this](const bench::ycsb::Progress&) { return !stop_; });
}

void YcsbLoad::Start() {
  const absl::StatusOr<PhaseResult> loaded = RunPhase(Phase::kLoad);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_EQ(loaded->failures(), 0);
  run_ = std::thread([this] { run_status_ = RunPhase(Phase::kRun).status(); });
}

void YcsbLoad::Stop() {
  stop_ = true;
  run_.join();
  // One that ended by itself has given up.
  EXPECT_TRUE(absl::IsCancelled(run_status_)) << run_status_;
}

void YcsbLoad::Check() const {
  const std::unique_ptr<Client> client = cluster_->Connect();
  ASSERT_NE(client, nullptr);
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < kRecords; ++i) {
    keys.push_back(bench::ycsb::KeyName(i));
  }
  const std::string last = HistoryPath(histories_);
  {
    HistoryWriter writer(last);
    EXPECT_EQ(
        ReadFinally(client.get(), keys, kReplicas, &writer, NameOfYcsbValue),
        std::vector<std::string>());
  }
  checkers::History history;
  for (int i = 0; i <= histories_; ++i) {
    EXPECT_EQ(ReadHistory(HistoryPath(i), static_cast<uint32_t>(i), &history)
                  .problems,
              std::vector<std::string>())
        << "client " << i;
  }
  CheckHistory(history);
}

}  // namespace whale::process_test
