// whale_one_process: puts and gets on a cluster in one thread.
//
// Under callgrind the functions below separate puts from gets and roles from
// each other; bench/instructions.sh reads their inclusive costs.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "bench/one_process/cluster.h"
#include "bench/ycsb/generators.h"
#include "bench/ycsb/values.h"
#include "common/prng.h"

namespace whale::bench::one_process {
namespace {

// Backups look less often than a primary that is busy.
constexpr uint64_t kTurnsPerBackupTurn = 16;
// What an operation takes, by the cluster's clock: sets how often timers are
// due, a backup's above all.
constexpr int64_t kOperationNs = 600;

}  // namespace

struct Flags {
  uint64_t records = 10'000;
  uint64_t operations = 20'000;
  uint64_t depth = 32;
  uint64_t value_bytes = 100;
};

class Driver {
 public:
  Driver(const Flags& flags, Cluster* cluster)
      : flags_(flags), cluster_(cluster), values_(flags.value_bytes) {}

  void Put(uint64_t number) {
    ycsb::KeyBuffer buffer;
    const std::string_view key = ycsb::KeyName(number, &buffer);
    cluster_->client().Submit(
        {.type = client::OperationType::kPut,
         .key = key,
         .value = values_.Make(number, number)},
        [this](const client::OperationResult& result) { Done(result); });
  }
  void Get(uint64_t number) {
    ycsb::KeyBuffer buffer;
    const std::string_view key = ycsb::KeyName(number, &buffer);
    cluster_->client().Submit(
        {.type = client::OperationType::kGet, .key = key},
        [this](const client::OperationResult& result) { Done(result); });
  }
  void Done(const client::OperationResult& result) {
    ++done_;
    if (!result.status.ok()) ++failed_;
  }

  // Keeps `depth` of `submit(i)` in flight until `count` are done.
  template <typename Submit, typename Client, typename Primary,
            typename Backups>
  void Run(uint64_t count, Submit submit, Client client, Primary primary,
           Backups backups) {
    done_ = 0;
    uint64_t sent = 0;
    while (done_ < count) {
      while (sent < count && sent - done_ < flags_.depth) submit(sent++);
      client(cluster_);
      primary(cluster_);
      if (++turns_ % kTurnsPerBackupTurn == 0) backups(cluster_);
      cluster_->TurnControl(kOperationNs * static_cast<int64_t>(flags_.depth));
    }
  }

  uint64_t Any() { return prng_.Below(flags_.records); }
  uint64_t failed() const { return failed_; }

 private:
  const Flags& flags_;
  Cluster* const cluster_;
  ycsb::Values values_;
  Prng prng_{1};
  uint64_t done_ = 0, failed_ = 0, turns_ = 0;
};

// What is counted: names without mangling, for the script; kept apart though
// alike.
#define WHALE_COUNTED __attribute__((noinline, no_icf))
extern "C" {
WHALE_COUNTED void put_submit(Driver* driver) { driver->Put(driver->Any()); }
WHALE_COUNTED void put_client(Cluster* c) { c->TurnClient(); }
WHALE_COUNTED void put_primary(Cluster* c) { c->TurnPrimary(); }
WHALE_COUNTED void put_backups(Cluster* c) { c->TurnBackups(); }
WHALE_COUNTED void get_submit(Driver* driver) { driver->Get(driver->Any()); }
WHALE_COUNTED void get_client(Cluster* c) { c->TurnClient(); }
WHALE_COUNTED void get_primary(Cluster* c) { c->TurnPrimary(); }
WHALE_COUNTED void get_backups(Cluster* c) { c->TurnBackups(); }
WHALE_COUNTED void measured(Driver* driver, uint64_t operations) {
  driver->Run(
      operations, [&](uint64_t) { put_submit(driver); }, put_client,
      put_primary, put_backups);
  driver->Run(
      operations, [&](uint64_t) { get_submit(driver); }, get_client,
      get_primary, get_backups);
}
}

namespace {

int Run(const Flags& flags) {
  const uint64_t writes = flags.records + flags.operations;
  auto cluster =
      Cluster::Start({.log_bytes = writes * (flags.value_bytes + 160) * 2});
  if (!cluster.ok()) {
    std::fprintf(stderr, "whale_one_process: %s\n",
                 std::string(cluster.status().message()).c_str());
    return 2;
  }
  Driver driver(flags, cluster->get());
  driver.Run(
      flags.records, [&](uint64_t i) { driver.Put(i); },
      [](Cluster* c) { c->TurnClient(); }, [](Cluster* c) { c->TurnPrimary(); },
      [](Cluster* c) { c->TurnBackups(); });
  measured(&driver, flags.operations);
  if (driver.failed() == 0) return 0;
  std::fprintf(stderr, "whale_one_process: %llu operations failed\n",
               static_cast<unsigned long long>(driver.failed()));
  return 2;
}

int Main(int argc, char** argv) {
  CLI::App app("Puts and gets on a cluster in one thread, for profilers");
  Flags flags;
  app.add_option("--records", flags.records)->check(CLI::PositiveNumber);
  app.add_option("--operations", flags.operations, "puts, and as many gets");
  app.add_option("--depth", flags.depth, "in flight")
      ->check(CLI::Range(1, 256));
  app.add_option("--value-bytes", flags.value_bytes);
  CLI11_PARSE(app, argc, argv);
  return Run(flags);
}

}  // namespace
}  // namespace whale::bench::one_process

int main(int argc, char** argv) {
  return whale::bench::one_process::Main(argc, argv);
}
