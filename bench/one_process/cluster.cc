#include "bench/one_process/cluster.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/units.h"
#include "fabric/shm/shm_fabric.h"

namespace whale::bench::one_process {
namespace {

constexpr int64_t kTurnNs = 20'000;  // while it forms
constexpr int64_t kTickNs = 50'000'000;
constexpr int kTurnsToForm = 500'000;
constexpr uint64_t kSegmentBytes = control::kMinSegmentBytes;

logstore::Geometry GeometryFor(const ClusterOptions& options, uint32_t server) {
  logstore::Geometry geometry;
  geometry.pool_uuid.fill(static_cast<uint8_t>(server));
  geometry.shard_count = options.shards;
  geometry.segment_bytes = kSegmentBytes;
  geometry.segment_slots = static_cast<uint32_t>(
      options.log_bytes / kSegmentBytes + 4 * uint64_t{options.shards});
  geometry.ring_slots = 8192;
  return geometry;
}

}  // namespace

Cluster::Server::~Server() {
  server.reset();
  pool.reset();
  fabric.reset();
  if (map != nullptr) munmap(map, map_bytes);
  if (fd >= 0) close(fd);
}

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Start(
    const ClusterOptions& options) {
  std::unique_ptr<Cluster> cluster(new Cluster(options));
  WHALE_RETURN_IF_ERROR(cluster->Form());
  return cluster;
}

Cluster::~Cluster() {
  client_.reset();
  client_fabric_.reset();
  servers_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

absl::Status Cluster::Form() {
  std::string name =
      (std::filesystem::temp_directory_path() / "whale-one.XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot create ", name));
  }
  directory_ = name;
  control::CoreOptions control;
  control.cluster.replicas = options_.replicas;
  control.cluster.shard_count = options_.shards;
  control.cluster.mirrors = options_.mirrors;
  control.cluster.primaries_on = 1;
  control.new_cluster_uuid = std::string(16, 'b');
  coordinator_ = std::make_unique<control::CoordinatorCore>(
      control, std::nullopt, clock_.NowNs());
  control::Effects effects;
  coordinator_->Start(clock_.NowNs(), &effects);
  Apply(std::move(effects));
  for (uint32_t id = 1; id <= options_.replicas; ++id) {
    WHALE_RETURN_IF_ERROR(AddServer(id));
  }
  WHALE_ASSIGN_OR_RETURN(client_fabric_, fabric::CreateShmFabric({}));
  client_ = std::make_unique<client::Core>(client::CoreOptions{},
                                           client_fabric_.get(), &clock_, this);
  bool written = false;
  client_->Submit({.type = client::OperationType::kPut, .key = "first"},
                  [&](const client::OperationResult& result) {
                    written = result.status.ok();
                  });
  for (int turn = 0; turn < kTurnsToForm && !written; ++turn) {
    TurnClient();
    TurnPrimary();
    TurnBackups();
    TurnControl(kTurnNs);
  }
  if (written) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat("the cluster did not form, or took no write: ",
                   coordinator_->Status(clock_.NowNs()).DebugString()));
}

absl::Status Cluster::AddServer(uint32_t id) {
  auto server = std::make_unique<Server>();
  const logstore::Geometry geometry = GeometryFor(options_, id);
  const uint64_t pool_bytes =
      RoundUp(logstore::Pool::BytesNeeded(geometry), 4096);
  server->map_bytes = fabric::kGuardBytes + pool_bytes;
  server->fd = memfd_create("whale-pool", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (server->fd < 0 ||
      ftruncate(server->fd, static_cast<off_t>(server->map_bytes)) != 0) {
    return absl::ResourceExhaustedError("no memory for a pool");
  }
  void* map = mmap(nullptr, server->map_bytes, PROT_READ | PROT_WRITE,
                   MAP_SHARED, server->fd, 0);
  if (map == MAP_FAILED) {
    return absl::ResourceExhaustedError("cannot map a pool");
  }
  server->map = static_cast<std::byte*>(map);
  WHALE_ASSIGN_OR_RETURN(
      server->pool,
      logstore::Pool::Format({.base = server->map + fabric::kGuardBytes,
                              .length_bytes = pool_bytes,
                              .fd = server->fd,
                              .fd_offset = fabric::kGuardBytes,
                              .domain = &server->domain},
                             geometry));
  WHALE_ASSIGN_OR_RETURN(
      server->fabric,
      fabric::CreateShmFabric(
          {.listen_path = absl::StrCat(directory_, "/", id, ".sock")}));
  WHALE_ASSIGN_OR_RETURN(
      server->server,
      node::Server::Create({.id = ServerId(id),
                            .incarnation = Incarnation(id),
                            .measure_stages = true},
                           server->fabric.get(), server->pool.get(), &clock_,
                           server.get()));
  servers_.push_back(std::move(server));
  return absl::OkStatus();
}

void Cluster::TurnBackups() {
  for (size_t i = 1; i < servers_.size(); ++i) {
    while (servers_[i]->server->Step()) {
    }
  }
}

void Cluster::TurnControl(int64_t elapsed_ns) {
  clock_.Advance(elapsed_ns);
  const int64_t now_ns = clock_.NowNs();
  control::Effects effects;
  for (const auto& server : servers_) {
    for (const proto::ServerReport& report :
         std::exchange(server->reports, {})) {
      coordinator_->OnReport(report, now_ns, &effects);
      Apply(std::exchange(effects, {}));
    }
  }
  if (now_ns - ticked_ns_ >= kTickNs) {
    ticked_ns_ = now_ns;
    coordinator_->OnTick(now_ns, &effects);
    Apply(std::exchange(effects, {}));
  }
  if (map_wanted_ && coordinator_->map().shards_size() > 0) {
    map_wanted_ = false;
    client_->OnMap(coordinator_->map());
  }
  if (session_wanted_) {
    session_wanted_ = !coordinator_->OpenSession(1, now_ns, &effects).ok();
    Apply(std::exchange(effects, {}));
  }
}

// A store that always works, at once.
void Cluster::Apply(control::Effects effects) {
  for (const control::SendDirective& send : effects.directives) {
    servers_[send.server.value() - 1]->server->OnDirective(send.directive);
  }
  for (const control::SessionOpened& opened : effects.sessions) {
    client_->OnSession(
        opened.session,
        static_cast<int64_t>(coordinator_->session_lease_us()) * 1000);
  }
  if (!effects.store) return;
  control::Effects more;
  coordinator_->OnStored(effects.store->state.revision(), clock_.NowNs(),
                         &more);
  Apply(std::move(more));
}

void Cluster::RequestMap(uint64_t) { map_wanted_ = true; }
void Cluster::RequestSession() { session_wanted_ = true; }

}  // namespace whale::bench::one_process
