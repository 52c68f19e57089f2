#include "sim/checkers/watermarks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace whale::checkers {

void Watermarks::Fail(const ReplicaSays& now, const std::string& problem) {
  if (!verdict_.ok()) return;
  verdict_.problem = absl::StrCat("server ", now.server, ", shard ", now.shard,
                                  ", epoch ", now.epoch, ": ", problem);
}

void Watermarks::Observe(const ReplicaSays& now) {
  if (now.damaged) {
    last_.erase({now.server, now.shard});
    return;
  }
  Shard& shard = shards_[now.shard];
  CheckAlone(now, &shard);
  CheckProgress(now);
  CheckStarts(now, &shard);
  CheckEpoch(now, &shard);
  last_[{now.server, now.shard}] = now;
}

void Watermarks::CheckAlone(const ReplicaSays& now, Shard* shard) {
  shard->longest = std::max(shard->longest, now.announced);
  if (now.phase != ReplicaSays::Phase::kActive) return;
  const auto at_most = [&](const char* what, uint64_t value, const char* limit,
                           uint64_t most) {
    if (value > most) {
      Fail(now, absl::StrCat(what, " ", value, " is above ", limit, " ", most));
    }
  };
  at_most("durable", now.durable, "announced", now.announced);
  at_most("applied", now.applied, "announced", now.announced);
  if (now.primary) {
    at_most("replicated", now.replicated, "durable", now.durable);
  }
  // Segments are numbered from 1, by position.
  at_most("segments held", now.log_bytes / segment_bytes_, "those needed",
          shard->longest / segment_bytes_ + segments_ahead_);
}

void Watermarks::CheckProgress(const ReplicaSays& now) {
  const auto it = last_.find({now.server, now.shard});
  if (it == last_.end()) return;
  const ReplicaSays& before = it->second;
  if (before.process != now.process || before.epoch != now.epoch ||
      before.phase != ReplicaSays::Phase::kActive ||
      now.phase != ReplicaSays::Phase::kActive) {
    return;
  }
  const auto not_back = [&](const char* what, uint64_t from, uint64_t to) {
    if (to < from) {
      Fail(now, absl::StrCat(what, " goes back from ", from, " to ", to));
    }
  };
  not_back("announced", before.announced, now.announced);
  not_back("durable", before.durable, now.durable);
  not_back("committed", before.committed, now.committed);
  not_back("applied", before.applied, now.applied);
  not_back("replicated", before.replicated, now.replicated);
}

void Watermarks::CheckStarts(const ReplicaSays& now, Shard* shard) {
  for (const auto& [epoch, start] : now.starts) {
    const auto [it, first] = shard->starts.emplace(epoch, start);
    if (it->second != start) {
      Fail(now, absl::StrCat("epoch ", epoch, " starts at ", start,
                             " here, at ", it->second, " elsewhere"));
    }
    if (!first) continue;
    for (const auto& [earlier, state] : shard->epochs) {
      if (earlier >= epoch || state.committed <= start) continue;
      Fail(now,
           absl::StrCat("epoch ", epoch, " starts at ", start, ", but epoch ",
                        earlier, " had committed up to ", state.committed));
    }
  }
}

void Watermarks::CheckEpoch(const ReplicaSays& now, Shard* shard) {
  Epoch& epoch = shard->epochs[now.epoch];
  const auto was_active = epoch.processes.find(now.server);
  if (now.phase == ReplicaSays::Phase::kStopped &&
      was_active != epoch.processes.end() &&
      was_active->second == now.process) {
    epoch.least_stopped = std::min(epoch.least_stopped, now.announced);
  } else if (now.phase == ReplicaSays::Phase::kActive) {
    epoch.processes[now.server] = now.process;
    epoch.committed = std::max(epoch.committed, now.committed);
    const auto start = shard->starts.find(now.epoch);
    if (start != shard->starts.end() && now.committed > start->second) {
      epoch.committed_here = std::max(epoch.committed_here, now.committed);
    }
    if (now.primary) {
      if (epoch.primary != 0 && epoch.primary != now.server) {
        Fail(now, absl::StrCat("server ", epoch.primary,
                               " is primary of this epoch as well"));
      }
      epoch.primary = now.server;
    }
    for (auto it = shard->starts.upper_bound(now.epoch);
         it != shard->starts.end(); ++it) {
      if (it->second >= now.committed) continue;
      Fail(now, absl::StrCat("committed up to ", now.committed, ", but epoch ",
                             it->first, " starts at ", it->second));
    }
  }
  if (epoch.least_stopped < epoch.committed_here) {
    Fail(now, absl::StrCat("a member stopped with ", epoch.least_stopped,
                           " announced, but up to ", epoch.committed_here,
                           " was committed"));
  }
}

}  // namespace whale::checkers
