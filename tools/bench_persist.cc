// whale bench persist: what a durable remote write costs, by method and size.
#include <signal.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "control/setup_exchange.h"
#include "fabric/shared_memory.h"
#include "fabric/verbs/local_exchange.h"
#include "fabric/verbs/verbs_fabric.h"
#include "pmem/pmem_domain.h"
#include "tools/persist_bench.h"
#include "tools/program.h"
#include "tools/signals.h"
#include "tools/table.h"

namespace whale::tools {
namespace {

// The memory is for measuring only.
const control::ClientSecurity kOpen = {.allow_plaintext = true};

constexpr uint32_t kSizes[] = {64, 256, 1024, 4096, 16384, 65536};
constexpr PersistMethod kMethods[] = {
    PersistMethod::kWrite,     PersistMethod::kWriteThenRead,
    PersistMethod::kWriteRead, PersistMethod::kWriteImm,
    PersistMethod::kSend,      PersistMethod::kFlush};

struct Flags {
  std::string verbs;
  std::string listen;
  std::string connect;
  uint64_t operations = 2000;
  bool json = false;
};

// One end: a verbs fabric and memory for it.
struct PersistEnd {
  fabric::SharedMemory memory;
  pmem::PmemDomain domain{/*is_dax=*/true, pmem::Survives::kPower};
  std::unique_ptr<fabric::VerbsFabric> fabric;
};

absl::StatusOr<std::unique_ptr<PersistEnd>> MakeEnd(
    const Flags& flags, std::unique_ptr<fabric::Exchange> exchange) {
  auto end = std::make_unique<PersistEnd>();
  WHALE_ASSIGN_OR_RETURN(
      end->memory, fabric::SharedMemory::Create(kPersistMemoryBytes, "persist",
                                                /*prefault=*/true));
  WHALE_ASSIGN_OR_RETURN(fabric::VerbsOptions options,
                         fabric::ParseVerbsOptions(flags.verbs));
  options.max_connections = 8;
  options.persist = [domain = &end->domain](const std::byte* address,
                                            size_t length_bytes) {
    domain->Persist(address, length_bytes);
  };
  WHALE_ASSIGN_OR_RETURN(
      end->fabric, fabric::CreateVerbsFabric(options, std::move(exchange)));
  return end;
}

absl::Status Serve(PersistEnd* end, const std::atomic<bool>& stop) {
  return RunPersistOwner(
      end->fabric.get(), end->memory.memory(),
      [end](const std::byte* address, size_t length_bytes) {
        end->domain.Persist(address, length_bytes);
      },
      stop);
}

std::string NameOf(const PersistResult& result, fabric::FlushMethod flush) {
  std::string name(PersistMethodName(result.method));
  if (result.method == PersistMethod::kFlush) {
    absl::StrAppend(&name, " (", std::string(FlushMethodName(flush)), ")");
  }
  return name;
}

// What this end has posted, but for answers and credits.
uint64_t RequestsOf(const fabric::VerbsFabric::Counters& counters) {
  return counters.writes + counters.writes_with_imm + counters.reads +
         counters.flushes + counters.messages;
}

// The steps of one write: work requests, and doorbells to post them.
struct Steps {
  double requests = 0;
  double doorbells = 0;
};

Steps StepsBetween(const fabric::VerbsFabric::Counters& before,
                   const fabric::VerbsFabric::Counters& after,
                   uint64_t operations) {
  const auto each = [operations](uint64_t count) {
    return static_cast<double>(count) / static_cast<double>(operations);
  };
  return {.requests = each(RequestsOf(after) - RequestsOf(before)),
          .doorbells = each(after.doorbells - before.doorbells)};
}

absl::Status MeasureAll(const Flags& flags, PersistEnd* end,
                        const std::string& owner) {
  WHALE_ASSIGN_OR_RETURN(
      PersistWriter writer,
      PersistWriter::Connect(end->fabric.get(), owner, end->memory.memory()));
  Table table({"METHOD", "BYTES", "REQUESTS", "DOORBELLS", "P50 US", "P99 US",
               "PER SECOND"});
  nlohmann::ordered_json json = {{"path", end->fabric->description()},
                                 {"results", nlohmann::json::array()}};
  for (const PersistMethod method : kMethods) {
    for (const uint32_t bytes : kSizes) {
      if (!PersistWriter::Can(method, bytes)) continue;
      const auto before = end->fabric->counters();
      WHALE_ASSIGN_OR_RETURN(
          const PersistResult result,
          writer.Measure(method, bytes,
                         static_cast<uint32_t>(flags.operations)));
      const Steps steps =
          StepsBetween(before, end->fabric->counters(), 2 * flags.operations);
      const std::string name = NameOf(result, writer.flush());
      table.Add({name, absl::StrCat(bytes),
                 absl::StrFormat("%.2f", steps.requests),
                 absl::StrFormat("%.2f", steps.doorbells),
                 absl::StrFormat("%.1f", result.p50_us),
                 absl::StrFormat("%.1f", result.p99_us),
                 absl::StrFormat("%.0f", result.per_second)});
      json["results"].push_back({{"method", name},
                                 {"bytes", bytes},
                                 {"requests", steps.requests},
                                 {"doorbells", steps.doorbells},
                                 {"p50_us", result.p50_us},
                                 {"p99_us", result.p99_us},
                                 {"per_second", result.per_second}});
    }
  }
  if (flags.json) {
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    std::printf("%s; window %u\n%s", end->fabric->description().c_str(),
                kPersistSlots, table.Text().c_str());
  }
  return absl::OkStatus();
}

// Both ends in this process.
absl::Status RunHere(const Flags& flags) {
  fabric::LocalExchangeHub hub;
  WHALE_ASSIGN_OR_RETURN(auto owner, MakeEnd(flags, hub.Listen("owner")));
  WHALE_ASSIGN_OR_RETURN(auto writer, MakeEnd(flags, hub.Listen("writer")));
  std::atomic<bool> stop{false};
  absl::Status served;
  std::thread thread([&] { served = Serve(owner.get(), stop); });
  const absl::Status measured = MeasureAll(flags, writer.get(), "owner");
  stop = true;
  owner->fabric->Wake();
  thread.join();
  writer->fabric.reset();
  owner->fabric.reset();
  return measured.ok() ? served : measured;
}

absl::Status RunOwner(const Flags& flags) {
  BlockSignals();
  WHALE_ASSIGN_OR_RETURN(
      auto exchange, control::MakeSetupExchange(
                         {.listen_address = flags.listen, .security = kOpen}));
  WHALE_ASSIGN_OR_RETURN(auto owner, MakeEnd(flags, std::move(exchange)));
  std::printf("listening at %s, %s; Ctrl-C ends it\n",
              owner->fabric->address().c_str(),
              owner->fabric->description().c_str());
  std::fflush(stdout);
  std::atomic<bool> stop{false};
  absl::Status served;
  std::thread thread([&] { served = Serve(owner.get(), stop); });
  int signal = 0;
  while (signal != SIGINT && signal != SIGTERM) {
    signal = WaitForSignal(absl::InfiniteDuration());
  }
  stop = true;
  owner->fabric->Wake();
  thread.join();
  return served;
}

absl::Status RunWriter(const Flags& flags) {
  WHALE_ASSIGN_OR_RETURN(auto exchange,
                         control::MakeSetupExchange({.security = kOpen}));
  WHALE_ASSIGN_OR_RETURN(auto writer, MakeEnd(flags, std::move(exchange)));
  return MeasureAll(flags, writer.get(), flags.connect);
}

int Run(const Flags& flags) {
  const absl::Status status = !flags.listen.empty()    ? RunOwner(flags)
                              : !flags.connect.empty() ? RunWriter(flags)
                                                       : RunHere(flags);
  return status.ok() ? kExitOk : PrintError(status);
}

}  // namespace

void RegisterBenchPersist(Program& program) {
  Command& command = program.Add(
      "bench persist",
      "Measures durable remote writes on verbs, by method and size",
      "Both ends on this machine, or --listen on one and --connect on another. "
      "The memory is ordinary\nmemory whose cache lines are written back as "
      "persistent memory's would be. Which methods make\nsomething durable on "
      "your machine is for docs/rdma.md to say, not for the figures.");
  auto flags = std::make_shared<Flags>();
  Options& options = command.options;
  options.AddString("verbs", &flags->verbs,
                    "device=..,gid-index=..,flush=..; as for whale serve");
  options.AddString("listen", &flags->listen,
                    "HOST:PORT: be the owner of the memory");
  options.AddString("connect", &flags->connect, "HOST:PORT of an owner");
  options.AddCount("operations", &flags->operations,
                   "of each method and size, twice", 1, 100'000'000);
  options.AddFlag("json", &flags->json, "print JSON");
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools
