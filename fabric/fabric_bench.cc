// What the shm provider costs: a WRITE, an idle Poll, a message there and back
// between two processes on two cores.
#include <benchmark/benchmark.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "fabric/fabric.h"
#include "fabric/shared_memory.h"
#include "fabric/shm/shm_fabric.h"

namespace whale::fabric {
namespace {

std::string SocketPath() {
  return std::filesystem::temp_directory_path() /
         ("whale-fabric-bench-" + std::to_string(getpid()) + ".sock");
}

std::unique_ptr<Fabric> NewFabric(const std::string& path) {
  auto fabric = CreateShmFabric({.listen_path = path});
  WHALE_CHECK_MSG(fabric.ok(), fabric.status().ToString().c_str());
  return *std::move(fabric);
}

void PinTo(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

// Polls until an event of this kind.
Event AwaitEvent(Fabric& fabric, EventKind kind, Fabric* other = nullptr) {
  Event event;
  for (;;) {
    if (other != nullptr) {
      Event request;
      if (other->Poll(std::span(&request, 1)) == 1 &&
          request.kind == EventKind::kConnectRequest) {
        other->Accept(request.connection, {});
      }
    }
    if (fabric.Poll(std::span(&event, 1)) == 1 && event.kind == kind) {
      return event;
    }
  }
}

// Two fabrics of one process, `connections` between them.
struct Pair {
  explicit Pair(int connections)
      : server(NewFabric(SocketPath())), client(NewFabric("")) {
    remote = *SharedMemory::Create(16 << 20, "bench", true);
    local = *SharedMemory::Create(1 << 20, "bench", true);
    auto region = server->Register(remote.memory(), {.remote_write = true});
    WHALE_CHECK(region.ok());
    grant = server->MakeGrant(*region, 0, remote.size());
    WHALE_CHECK(client->Register(local.memory(), {}).ok());
    for (int i = 0; i < connections; ++i) {
      client->Connect(server->address(), {});
      connection =
          AwaitEvent(*client, EventKind::kConnected, server.get()).connection;
    }
  }

  SharedMemory remote, local;
  std::unique_ptr<Fabric> server, client;
  Grant grant;
  ConnectionId connection;
};

// Batches of WRITEs, the last of each signaled.
void BM_Write(benchmark::State& state) {
  Pair pair(1);
  const auto length = static_cast<uint32_t>(state.range(0));
  const auto batch = static_cast<size_t>(state.range(1));
  std::vector<WorkRequest> requests(batch);
  for (WorkRequest& request : requests) {
    request = {.opcode = Opcode::kWrite,
               .local = pair.local.data(),
               .length_bytes = length,
               .remote_key = pair.grant.key};
  }
  requests.back().signaled = true;
  uint64_t offset = 0;
  std::array<Event, 16> events;
  Event first;
  // Maps the memory.
  pair.client->Post(pair.connection, requests);
  while (pair.client->Poll(std::span(&first, 1)) == 0) {
    pair.server->Poll(events);
  }
  for (auto _ : state) {
    for (WorkRequest& request : requests) {
      request.remote_address = pair.grant.address + offset;
      offset = (offset + length) % (8 << 20);
    }
    pair.client->Post(pair.connection, requests);
    benchmark::DoNotOptimize(pair.client->Poll(events));
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(batch));
}
BENCHMARK(BM_Write)
    ->Args({64, 1})
    ->Args({192, 1})
    ->Args({192, 16})
    ->Args({4096, 1})
    ->Args({65536, 1});

void BM_IdlePoll(benchmark::State& state) {
  Pair pair(static_cast<int>(state.range(0)));
  std::array<Event, 64> events;
  for (auto _ : state) {
    benchmark::DoNotOptimize(pair.client->Poll(events));
  }
}
BENCHMARK(BM_IdlePoll)->Arg(1)->Arg(64)->Arg(512);

// Answers every message with one of the same length, until killed.
[[noreturn]] void Echo(const std::string& path, int core, bool sleeps) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  PinTo(core);
  auto server = NewFabric(path);
  std::array<Event, 16> events;
  for (;;) {
    const size_t count = server->Poll(events);
    for (size_t i = 0; i < count; ++i) {
      const Event& event = events[i];
      if (event.kind == EventKind::kConnectRequest) {
        server->Accept(event.connection, {});
      } else if (event.kind == EventKind::kReceived) {
        std::byte* room =
            server->BeginMessage(event.connection, event.length_bytes);
        std::memcpy(room, event.data, event.length_bytes);
        server->EndMessage(event.connection, event.length_bytes);
      }
    }
    server->FlushMessages();
    if (sleeps && count == 0) server->Wait(INT64_MAX);
  }
}

// There and back; `range(0)` messages of 100 bytes under way at once.
// `range(1)`: both sleep when there is nothing to do.
void BM_PingPong(benchmark::State& state) {
  const std::string path = SocketPath();
  const bool sleeps = state.range(1) != 0;
  const pid_t child = fork();
  if (child == 0) Echo(path, 1, sleeps);
  PinTo(0);
  while (access(path.c_str(), F_OK) != 0) {
  }
  {
    auto client = NewFabric("");
    ConnectionId connection;
    do {
      connection = client->Connect(path, {});
      Event event;
      while (client->Poll(std::span(&event, 1)) == 0) {
      }
      if (event.kind == EventKind::kConnectFailed) connection = {};
    } while (connection.value == 0);
    const std::string text(100, 'x');
    std::array<Event, 64> events;
    for (auto _ : state) {
      for (int i = 0; i < state.range(0); ++i) {
        std::byte* room = client->BeginMessage(connection, text.size());
        std::memcpy(room, text.data(), text.size());
        client->EndMessage(connection, text.size());
      }
      for (int64_t back = 0; back < state.range(0);) {
        const size_t count = client->Poll(events);
        back += static_cast<int64_t>(count);
        if (sleeps && count == 0) client->Wait(INT64_MAX);
      }
    }
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  unlink(path.c_str());
  unlink((path + ".lock").c_str());
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_PingPong)
    ->Args({1, 0})
    ->Args({16, 0})
    ->Args({1, 1})
    ->UseRealTime();

}  // namespace
}  // namespace whale::fabric

BENCHMARK_MAIN();
