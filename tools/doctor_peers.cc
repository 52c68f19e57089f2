// whale doctor: the cluster, through the fabric.
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/hash.h"
#include "control/cluster_client.h"
#include "tools/cluster_flags.h"
#include "tools/doctor_checks.h"
#include "tools/net.h"
#include "tools/status_text.h"

namespace whale::tools {
namespace {

std::string TimeSince(int64_t begun_ns) {
  BootClock clock;
  return HumanTime(static_cast<uint64_t>((clock.NowNs() - begun_ns) / 1000));
}

Finding CheckCoordinator(const DoctorFlags& flags, const std::string& address) {
  const auto parsed = ParseHostPort(address);
  const absl::Status status =
      parsed.ok() ? CheckReachable(*parsed, flags.timeout) : parsed.status();
  return {"coordinator " + address,
          status.ok() ? Verdict::kOk : Verdict::kProblem,
          status.ok() ? "reachable"
                      : absl::StrCat("not reachable: ", status.message()),
          ""};
}

// A key of the shard, of which nobody else has anything.
std::string KeyOfShard(uint32_t shard, uint32_t shard_count) {
  for (uint64_t i = 0;; ++i) {
    std::string key = absl::StrCat("whale.doctor.", i);
    if (ShardOfHash(HashKey(key), shard_count).value() == shard) return key;
  }
}

// Writes a byte, durably on all replicas, reads it at each member that `peers`
// does not have yet, and deletes it.
void CheckShard(Client* client, const proto::ShardEntry& shard,
                uint32_t shard_count, std::set<uint32_t>* peers,
                Findings* findings) {
  const std::string key = KeyOfShard(shard.shard(), shard_count);
  const std::string what = absl::StrCat("write to shard ", shard.shard());
  BootClock clock;
  int64_t begun_ns = clock.NowNs();
  const auto put =
      client->Put(key, "x", {.durability = Durability::kReplicated});
  if (!put.ok()) {
    findings->push_back({what, Verdict::kProblem,
                         std::string(put.status().message()),
                         "whale status says which servers are missing"});
    return;
  }
  findings->push_back({what, Verdict::kOk,
                       absl::StrCat("one byte durable on ", put->copies,
                                    " servers in ", TimeSince(begun_ns)),
                       ""});
  for (const uint32_t member : shard.members()) {
    if (!peers->insert(member).second) continue;
    begun_ns = clock.NowNs();
    const auto got = client->Get(key, {.replica = member});
    const bool ok = got.ok() && got->value == "x";
    findings->push_back(
        {absl::StrCat("server ", member), ok ? Verdict::kOk : Verdict::kProblem,
         ok ? absl::StrCat("has it, answers in ", TimeSince(begun_ns))
            : absl::StrCat("does not give it back: ",
                           got.ok() ? std::string("another value")
                                    : std::string(got.status().message())),
         ""});
  }
  (void)client->Delete(key);  // a byte that stays harms nobody
}

}  // namespace

void CheckPeers(const DoctorFlags& flags, Findings* findings) {
  if (flags.cluster.empty()) return;
  bool reachable = false;
  for (const std::string& address : flags.cluster) {
    findings->push_back(CheckCoordinator(flags, address));
    reachable |= findings->back().verdict == Verdict::kOk;
  }
  if (!reachable) return;
  const auto control = OpenCoordinators(flags.cluster, flags.security);
  const auto status =
      control.ok() ? (*control)->GetStatus(flags.timeout)
                   : absl::StatusOr<proto::ClusterStatus>(control.status());
  const auto client = ConnectTo({.cluster = flags.cluster,
                                 .timeout = flags.timeout,
                                 .fabric = flags.fabric,
                                 .verbs = flags.verbs,
                                 .security = flags.security});
  for (const absl::Status& failed : {status.status(), client.status()}) {
    if (failed.ok()) continue;
    findings->push_back({"cluster", Verdict::kProblem,
                         std::string(WithCure(failed).message()), ""});
    return;
  }
  std::set<uint32_t> peers;
  for (const proto::ShardEntry& shard : status->map().shards()) {
    CheckShard(client->get(), shard,
               static_cast<uint32_t>(status->map().shards_size()), &peers,
               findings);
  }
  for (const proto::ServerEntry& server : status->map().servers()) {
    if (peers.contains(server.server_id())) continue;
    findings->push_back({absl::StrCat("server ", server.server_id()),
                         Verdict::kNote, "holds no shard; not asked", ""});
  }
}

}  // namespace whale::tools
