#include "tests/process/load.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "sim/checkers/durability.h"
#include "sim/checkers/exactly_once.h"
#include "sim/checkers/linearizability.h"
#include "tests/process/final_reads.h"
#include "tests/process/history_file.h"

namespace whale::process_test {

Load::Load(const Cluster* cluster, const LoadOptions& options)
    : cluster_(cluster), options_(options) {
  for (int i = 0; i < options.clients; ++i) AddClient();
}

std::string Load::HistoryPath(size_t number) const {
  return absl::StrCat(cluster_->folder(), "/history.", number);
}

void Load::AddClient() {
  const size_t number = clients_.size();
  clients_.push_back(cluster_->StartClient(
      {"--history", HistoryPath(number), "--client", absl::StrCat(number),
       "--seed", absl::StrCat(options_.seed * 1000 + number), "--operations",
       absl::StrCat(options_.operations), "--keys", absl::StrCat(options_.keys),
       "--in-flight", absl::StrCat(options_.in_flight), "--large-share",
       absl::StrCat(options_.large_share), "--timeout-ms",
       absl::StrCat(options_.timeout_ms), "--rate",
       absl::StrCat(options_.rate)}));
  killed_.push_back(false);
}

void Load::Kill(size_t number) {
  killed_[number] = true;
  clients_[number]->Signal(SIGKILL);
}

void Load::Finish(int timeout_ms) {
  for (size_t i = 0; i < clients_.size(); ++i) {
    ChildProcess& client = *clients_[i];
    ASSERT_TRUE(client.WaitExit(timeout_ms)) << "client " << i << " hangs";
    if (killed_[i]) continue;
    EXPECT_TRUE(WIFEXITED(client.wait_status()) &&
                WEXITSTATUS(client.wait_status()) == 0)
        << "client " << i << ", wait status " << client.wait_status() << ": "
        << ReadFile(cluster_->folder() + "/clients");
  }
}

void Load::Stop() {
  for (size_t i = 0; i < clients_.size(); ++i) {
    // A client that has begun its history knows what the signal means.
    ASSERT_TRUE(WaitFor([&] { return !ReadFile(HistoryPath(i)).empty(); },
                        static_cast<int>(options_.timeout_ms)));
    clients_[i]->Signal(SIGTERM);
  }
}

uint64_t Load::HistoryBytes() const {
  uint64_t bytes = 0;
  for (size_t i = 0; i < clients_.size(); ++i) {
    struct stat info;
    if (stat(HistoryPath(i).c_str(), &info) == 0) bytes += info.st_size;
  }
  return bytes;
}

void Load::FinalReads() {
  std::unique_ptr<Client> client = cluster_->Connect();
  ASSERT_NE(client, nullptr);
  HistoryWriter writer(HistoryPath(clients_.size()) + "-final");
  EXPECT_EQ(
      ReadFinally(client.get(), ClientKeys(options_.keys), kReplicas, &writer),
      std::vector<std::string>());
}

checkers::History Load::Collect() const {
  checkers::History history;
  for (size_t i = 0; i < clients_.size(); ++i) {
    const HistoryContents contents =
        ReadHistory(HistoryPath(i), static_cast<uint32_t>(i), &history);
    EXPECT_EQ(contents.problems, std::vector<std::string>()) << "client " << i;
    EXPECT_TRUE(contents.done || killed_[i]) << "client " << i;
  }
  ReadHistory(HistoryPath(clients_.size()) + "-final",
              static_cast<uint32_t>(clients_.size()), &history);
  return history;
}

void Load::Check() const { CheckHistory(Collect()); }

void CheckHistory(const checkers::History& history) {
  const checkers::Verdict verdicts[] = {
      checkers::CheckLinearizability(history),
      checkers::CheckExactlyOnce(history),
      checkers::CheckDurability(history),
  };
  for (const checkers::Verdict& verdict : verdicts) {
    EXPECT_TRUE(verdict.ok()) << verdict.problem;
  }
  size_t acknowledged = 0;
  for (const checkers::Operation& operation : history.operations()) {
    acknowledged += operation.type != checkers::OperationType::kGet &&
                    operation.answer == checkers::Answer::kOk;
  }
  std::printf("%zu operations, %zu writes acknowledged\n",
              history.operations().size(), acknowledged);
  // A run in which next to nothing succeeded proves nothing.
  EXPECT_GT(acknowledged, history.operations().size() / 20);
}

}  // namespace whale::process_test
