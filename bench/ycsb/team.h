// The harness in several processes: each has its own clients, all begin at the
// same moment, and their results are summed up.
//
// The processes are forked before the first phase, while the program has one
// thread, and wait for what the parent says: a phase, and to whom. A process
// that dies ends the phase with an error.
//
// Thread-safety: none. Ownership: a Team owns its processes; they end with it,
// and with their parent however it dies.
#ifndef WHALE_BENCH_YCSB_TEAM_H_
#define WHALE_BENCH_YCSB_TEAM_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/ycsb/runner.h"

namespace whale::bench::ycsb {

class Team {
 public:
  // In a child: runs one phase of its share against `target`, calls the other
  // two as RunPhase does.
  using Body = std::function<absl::StatusOr<PhaseResult>(
      uint32_t process, Phase phase, const std::string& target,
      const std::function<bool(const Progress&)>& report,
      const std::function<int64_t()>& start)>;

  // Forks `processes` children that run `body` for every phase.
  // REQUIRES: no other thread. Errors: kResourceExhausted.
  static absl::StatusOr<std::unique_ptr<Team>> Fork(uint32_t processes,
                                                    const Body& body);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // `target` has no line break; `total`: operations, for `report`, which is as
  // RunPhase's. After an error the team is of no use.
  // Errors: kUnavailable (what a child said, or it died); kCancelled (by
  // `report`).
  absl::StatusOr<PhaseResult> Run(
      Phase phase, const std::string& target, uint64_t total,
      const std::function<bool(const Progress&)>& report);

 private:
  struct Member {
    pid_t pid = -1;
    int fd = -1;
    std::string received;  // no whole line yet
    uint64_t done = 0;
    bool finished = false;
  };

  Team() = default;
  absl::Status Say(const std::string& line);
  absl::StatusOr<std::string> NextLine(Member* member);
  absl::Status AwaitReady();
  absl::Status Take(Member* member, PhaseResult* all, Progress* progress);
  bool Finished() const;

  std::vector<Member> members_;
};

}  // namespace whale::bench::ycsb

#endif  // WHALE_BENCH_YCSB_TEAM_H_
