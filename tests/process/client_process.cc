// A client of the process-level tests: mixed operations on few keys, many in
// flight, each recorded in a history file. Started by the tests, several at a
// time, and killed by some of them.
//
//   client_process --cluster HOST:PORT,... --history FILE --client N --seed S
//                  --operations N --keys K --in-flight D
//                  [--large-share PERCENT] [--timeout-ms T] [--rate R]
//                  [--final-replicas R]
//
// `--rate`: so many operations per second at most. `--final-replicas`: reads
// every key at each of so many replicas in the end. SIGTERM: begins no more.

#include <poll.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/prng.h"
#include "tests/process/final_reads.h"
#include "tests/process/history_file.h"
#include "tests/process/processes.h"
#include "whale/client.h"

namespace whale::process_test {
namespace {

using checkers::Answer;
using checkers::OperationType;

constexpr uint64_t kReplicas = 3;

struct Options {
  std::string cluster;
  std::string history;
  uint32_t client = 1;
  uint64_t seed = 1;
  uint64_t operations = 1000;
  uint64_t keys = 4;
  size_t in_flight = 16;
  uint64_t large_share = 10;  // percent of the written values
  int64_t timeout_ms = 30'000;
  int64_t rate = 0;  // no bound
  uint32_t final_replicas = 0;
};

volatile std::sig_atomic_t stop_requested = 0;

bool Parse(int argc, char** argv, Options* options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const std::string text = argv[i + 1];
    const auto number = [&] {
      return std::strtoull(text.c_str(), nullptr, 10);
    };
    if (name == "--cluster") {
      options->cluster = text;
    } else if (name == "--history") {
      options->history = text;
    } else if (name == "--client") {
      options->client = static_cast<uint32_t>(number());
    } else if (name == "--seed") {
      options->seed = number();
    } else if (name == "--operations") {
      options->operations = number();
    } else if (name == "--keys") {
      options->keys = number();
    } else if (name == "--in-flight") {
      options->in_flight = number();
    } else if (name == "--large-share") {
      options->large_share = number();
    } else if (name == "--timeout-ms") {
      options->timeout_ms = static_cast<int64_t>(number());
    } else if (name == "--rate") {
      options->rate = static_cast<int64_t>(number());
    } else if (name == "--final-replicas") {
      options->final_replicas = static_cast<uint32_t>(number());
    } else {
      return false;
    }
  }
  return argc % 2 == 1 && !options->cluster.empty() &&
         !options->history.empty();
}

class Driver {
 public:
  Driver(const Options& options, std::unique_ptr<Client> client)
      : options_(options),
        client_(std::move(client)),
        history_(options.history),
        random_(options.seed),
        last_version_(options.keys) {}

  void Run() {
    const int64_t begun_ns = NowOfHostNs();
    uint64_t started = 0;
    while (open_ > 0 || (started < options_.operations && !stop_requested)) {
      while (MayStart(started, begun_ns)) {
        ++started;
        ++open_;
        StartOne();
      }
      // With nothing on its way Poll would return at once.
      if (client_->in_flight() > 0) {
        client_->Poll(absl::Milliseconds(1));
      } else {
        poll(nullptr, 0, 1);
      }
    }
    for (const std::string& problem :
         ReadFinally(client_.get(), ClientKeys(options_.keys),
                     options_.final_replicas, &history_)) {
      history_.Problem(problem);
    }
    history_.Done();
  }

 private:
  bool MayStart(uint64_t started, int64_t begun_ns) const {
    if (stop_requested || started >= options_.operations ||
        open_ >= options_.in_flight) {
      return false;
    }
    const int64_t elapsed_us = (NowOfHostNs() - begun_ns) / 1000;
    return options_.rate == 0 || static_cast<int64_t>(started) * 1'000'000 <=
                                     elapsed_us * options_.rate;
  }

  void StartOne() {
    const uint64_t key = random_.Below(options_.keys);
    const uint64_t dice = random_.Below(100);
    if (dice < 50) {
      Get(key);
    } else if (dice < 80) {
      Put(key, /*conditional=*/false);
    } else if (dice < 90) {
      Put(key, /*conditional=*/true);
    } else {
      Delete(key, /*conditional=*/dice >= 97);
    }
  }

  void Get(uint64_t key) {
    ReadOptions options;
    // Half of them wherever the client likes, the others at one replica.
    options.any_replica = random_.Chance(0.5);
    if (!options.any_replica) {
      options.replica = static_cast<uint32_t>(1 + random_.Below(kReplicas));
    }
    const uint64_t level = random_.Below(20);
    if (level == 0) options.consistency = Consistency::kSession;
    if (level == 1) options.consistency = Consistency::kStale;
    checkers::Operation operation;
    operation.type = OperationType::kGet;
    operation.key = KeyName(key);
    operation.replica = options.replica;
    operation.weak = options.consistency != Consistency::kLinearizable;
    const uint64_t number = history_.Invoke(operation);
    client_->GetAsync(operation.key, options,
                      [this, key, number](absl::StatusOr<ReadResult> result) {
                        OnRead(key, number, result);
                      });
  }

  void OnRead(uint64_t key, uint64_t number,
              const absl::StatusOr<ReadResult>& result) {
    --open_;
    if (!result.ok()) {
      history_.Failed(number, result.status());
      return;
    }
    const std::string name = NameOfValue(result->value);
    if (name.empty()) {
      history_.Problem(absl::StrCat("a mangled value of ", result->value.size(),
                                    " bytes of ", KeyName(key), " version ",
                                    result->version, ", operation ", number));
    }
    last_version_[key] = result->version;
    history_.Answer(number, Answer::kOk, result->version, name);
  }

  void Put(uint64_t key, bool conditional) {
    const std::string name =
        absl::StrCat("c", options_.client, ".", ++values_written_);
    checkers::Operation operation;
    operation.type =
        conditional ? OperationType::kCompareAndPut : OperationType::kPut;
    operation.key = KeyName(key);
    operation.value = name;
    operation.expected_version = conditional ? last_version_[key] : 0;
    const std::string value = MakeValue(name, NextLength(name));
    const uint64_t number = history_.Invoke(operation);
    if (conditional) {
      client_->CompareAndPutAsync(operation.key, operation.expected_version,
                                  value, NextWriteOptions(),
                                  WriteDone(key, number));
    } else {
      client_->PutAsync(operation.key, value, NextWriteOptions(),
                        WriteDone(key, number));
    }
  }

  void Delete(uint64_t key, bool conditional) {
    checkers::Operation operation;
    operation.type =
        conditional ? OperationType::kDeleteIf : OperationType::kDelete;
    operation.key = KeyName(key);
    operation.expected_version = conditional ? last_version_[key] : 0;
    const uint64_t number = history_.Invoke(operation);
    if (conditional) {
      client_->DeleteIfAsync(operation.key, operation.expected_version,
                             NextWriteOptions(), WriteDone(key, number));
    } else {
      client_->DeleteAsync(operation.key, NextWriteOptions(),
                           WriteDone(key, number));
    }
  }

  Client::WriteDone WriteDone(uint64_t key, uint64_t number) {
    return [this, key, number](absl::StatusOr<WriteResult> result) {
      --open_;
      if (!result.ok()) {
        history_.Failed(number, result.status());
        return;
      }
      last_version_[key] = result->version;
      history_.Answer(number, Answer::kOk, result->version);
    };
  }

  static std::string KeyName(uint64_t key) { return absl::StrCat("key", key); }

  // Small ones go by value, those above 4 KiB by metadata, and those above
  // 8 KiB stay in the client's buffer until the primary reads them.
  size_t NextLength(const std::string& name) {
    const bool large = random_.Below(100) < options_.large_share;
    return name.size() + 1 + random_.Below(large ? 40'000 : 200);
  }

  WriteOptions NextWriteOptions() {
    WriteOptions options;
    if (random_.Below(20) == 0) options.durability = Durability::kReplicated;
    return options;
  }

  const Options options_;
  const std::unique_ptr<Client> client_;
  HistoryWriter history_;
  Prng random_;
  std::vector<uint64_t> last_version_;  // by key
  uint64_t values_written_ = 0;
  size_t open_ = 0;
};

int Main(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, &options)) {
    std::fprintf(stderr, "client_process: bad arguments\n");
    return 2;
  }
  std::signal(SIGTERM, [](int) { stop_requested = 1; });
  ClientOptions client_options;
  client_options.coordinators = absl::StrSplit(options.cluster, ',');
  client_options.timeout = absl::Milliseconds(options.timeout_ms);
  client_options.allow_plaintext = true;  // hosts of a test trust each other
  absl::StatusOr<std::unique_ptr<Client>> client;
  WaitFor(
      [&] {
        client = Client::Connect(client_options);
        return client.ok();
      },
      static_cast<int>(options.timeout_ms));
  if (!client.ok()) {
    std::fprintf(stderr, "client_process: %s\n",
                 client.status().ToString().c_str());
    return 1;
  }
  Driver(options, *std::move(client)).Run();
  return 0;
}

}  // namespace
}  // namespace whale::process_test

int main(int argc, char** argv) {
  return whale::process_test::Main(argc, argv);
}
