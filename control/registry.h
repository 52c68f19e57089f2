// The server processes that the coordinator knows: the newest report of each,
// whether the process is there, and who may not join.
//
// Thread-safety: none; part of the core.
#ifndef WHALE_CONTROL_REGISTRY_H_
#define WHALE_CONTROL_REGISTRY_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control/options.h"
#include "proto/control.pb.h"

namespace whale::control {

// One server id and the process that holds it now, or held it last.
struct ServerState {
  proto::ServerReport report;  // the newest
  bool attached = false;       // its stream is open
  int64_t heard_ns = 0;        // of the newest report
  int64_t away_since_ns = 0;   // if not attached
  // When its data threads were last seen to have made a turn.
  uint64_t progress = 0;
  int64_t progress_ns = 0;
  // Another process that claims the same id while this one seems to live.
  uint64_t rival = 0;
  proto::ServerReport rival_report;  // its newest
  int reports_since_rival = 0;

  uint32_t id() const { return report.server_id(); }
  uint64_t incarnation() const { return report.incarnation(); }
};

class Registry {
 public:
  enum class Verdict {
    kAccepted,  // the report counts
    kIgnored,   // an old one, or of a process that has to wait
    kRefused,   // the process may not join: see `why`
  };
  struct Answer {
    Verdict verdict = Verdict::kIgnored;
    std::string why;
  };

  // `stored`: the cluster, or null if there is none yet. `silence_ns`: how
  // long a process may be silent before another may take its place.
  Answer OnReport(const proto::ServerReport& report,
                  const ClusterOptions& wanted,
                  const proto::StoredState* stored, int64_t silence_ns,
                  int64_t now_ns);
  // The stream of this process is closed; one that waits for its id has it now.
  void OnGone(uint32_t server, uint64_t incarnation, int64_t now_ns);

  // Forgets whoever is not in the cluster any more.
  void Keep(const proto::StoredState& stored);

  // Null: never heard of.
  const ServerState* Find(uint32_t server) const;
  // The report of `server` about `shard`; null: none.
  const proto::ShardReport* FindShard(uint32_t server, uint32_t shard) const;

  // Why a server does not count as being there, or empty: its stream is
  // closed, it is silent, it hangs, or it is shutting down.
  std::string WhyAway(uint32_t server, int64_t silence_ns,
                      int64_t now_ns) const;
  bool Present(uint32_t server, int64_t silence_ns, int64_t now_ns) const {
    return WhyAway(server, silence_ns, now_ns).empty();
  }

  const std::map<uint32_t, ServerState>& servers() const { return servers_; }

 private:
  void Accept(ServerState& state, const proto::ServerReport& report,
              int64_t now_ns);
  Answer OnRival(ServerState& state, const proto::ServerReport& report);

  std::map<uint32_t, ServerState> servers_;
  // Processes that lost against a rival; they are told so again if they ask.
  std::map<std::pair<uint32_t, uint64_t>, std::string> rejected_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_REGISTRY_H_
