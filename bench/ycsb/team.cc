#include "bench/ycsb/team.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "bench/ycsb/result_text.h"
#include "common/status_macros.h"

namespace whale::bench::ycsb {
namespace {

// Between "all are ready" and the beginning.
constexpr int64_t kHeadStartNs = 5'000'000;
// Words of the conversation, each the beginning of a line.
constexpr char kLoad[] = "load ";      // parent: the target
constexpr char kRun[] = "run ";        // parent: the target
constexpr char kReady[] = "ready ";    // child
constexpr char kStart[] = "start ";    // parent: when, on MonotonicNs
constexpr char kDone[] = "done ";      // child: operations so far
constexpr char kResult[] = "result ";  // child: the text of its result
constexpr char kError[] = "error ";    // child: what went wrong

absl::Status SendLine(int fd, const std::string& line) {
  const std::string text = line + "\n";
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t n =
        send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::UnavailableError("a client process is gone");
    sent += n;
  }
  return absl::OkStatus();
}

// The first whole line of `received`, taking more from `fd` as needed. nullopt:
// the other side has gone.
std::optional<std::string> ReadLine(int fd, std::string* received) {
  while (true) {
    const size_t end = received->find('\n');
    if (end != std::string::npos) {
      std::string line = received->substr(0, end);
      received->erase(0, end + 1);
      return line;
    }
    std::array<char, 65536> bytes;
    const ssize_t n = recv(fd, bytes.data(), bytes.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::nullopt;
    received->append(bytes.data(), n);
  }
}

// One child from fork to end.
class Child {
 public:
  Child(uint32_t process, int fd, const Team::Body& body)
      : process_(process), fd_(fd), body_(body) {}

  void Serve() {
    while (const auto line = ReadLine(fd_, &received_)) {
      absl::string_view target = *line;
      Phase phase = Phase::kRun;
      if (absl::ConsumePrefix(&target, kLoad)) {
        phase = Phase::kLoad;
      } else if (!absl::ConsumePrefix(&target, kRun)) {
        return;
      }
      Do(phase, std::string(target));
    }
  }

 private:
  void Do(Phase phase, const std::string& target) {
    const auto result = body_(
        process_, phase, target,
        [this](const Progress& progress) { return Report(progress); },
        [this] { return AwaitStart(); });
    const std::string text =
        result.ok() ? kResult + ResultToText(*result)
                    : absl::StrCat(
                          kError, absl::StrReplaceAll(result.status().message(),
                                                      {{"\n", " "}}));
    // A parent that is gone takes this process with it.
    (void)SendLine(fd_, text);
  }

  bool Report(const Progress& progress) {
    return SendLine(fd_, absl::StrCat(kDone, progress.operations)).ok();
  }

  int64_t AwaitStart() {
    (void)SendLine(fd_, kReady);
    int64_t start_ns = MonotonicNs();
    const auto line = ReadLine(fd_, &received_);
    if (!line || !absl::StartsWith(*line, kStart)) _exit(1);
    if (!absl::SimpleAtoi(line->substr(sizeof(kStart) - 1), &start_ns)) {
      _exit(1);
    }
    return start_ns;
  }

  const uint32_t process_;
  const int fd_;
  const Team::Body& body_;
  std::string received_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Team>> Team::Fork(uint32_t processes,
                                                 const Body& body) {
  std::unique_ptr<Team> team(new Team());
  const pid_t parent = getpid();
  for (uint32_t i = 0; i < processes; ++i) {
    std::array<int, 2> fds;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("socketpair: ", strerror(errno)));
    }
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);
      // An earlier child's end would keep it from seeing its parent go.
      for (const Member& member : team->members_) close(member.fd);
      close(fds[0]);
      Child(i, fds[1], body).Serve();
      _exit(0);
    }
    close(fds[1]);
    if (pid < 0) {
      close(fds[0]);
      return absl::ResourceExhaustedError(
          absl::StrCat("no client process: ", strerror(errno)));
    }
    team->members_.push_back({.pid = pid, .fd = fds[0]});
  }
  return team;
}

Team::~Team() {
  for (const Member& member : members_) {
    close(member.fd);
    kill(member.pid, SIGKILL);
    waitpid(member.pid, nullptr, 0);
  }
}

absl::Status Team::Say(const std::string& line) {
  for (const Member& member : members_) {
    WHALE_RETURN_IF_ERROR(SendLine(member.fd, line));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Team::NextLine(Member* member) {
  auto line = ReadLine(member->fd, &member->received);
  if (!line) return absl::UnavailableError("a client process died");
  if (absl::StartsWith(*line, kError)) {
    return absl::UnavailableError(line->substr(sizeof(kError) - 1));
  }
  return *std::move(line);
}

absl::Status Team::AwaitReady() {
  for (Member& member : members_) {
    WHALE_ASSIGN_OR_RETURN(const std::string line, NextLine(&member));
    if (line != kReady) return absl::InternalError("said " + line);
  }
  return absl::OkStatus();
}

bool Team::Finished() const {
  return std::all_of(members_.begin(), members_.end(),
                     [](const Member& member) { return member.finished; });
}

// One line of a running phase.
absl::Status Team::Take(Member* member, PhaseResult* all, Progress* progress) {
  WHALE_ASSIGN_OR_RETURN(const std::string line, NextLine(member));
  absl::string_view rest = line;
  if (absl::ConsumePrefix(&rest, kDone)) {
    uint64_t done = 0;
    if (!absl::SimpleAtoi(rest, &done)) {
      return absl::InternalError("said " + line);
    }
    const uint64_t more = done - std::min(done, member->done);
    progress->operations += more;
    progress->recent_operations += more;
    member->done = done;
    return absl::OkStatus();
  }
  if (!absl::ConsumePrefix(&rest, kResult)) {
    return absl::InternalError("said " + line);
  }
  WHALE_ASSIGN_OR_RETURN(const PhaseResult result,
                         ResultFromText(std::string(rest)));
  all->phase = result.phase;
  all->Merge(result);
  member->finished = true;
  return absl::OkStatus();
}

absl::StatusOr<PhaseResult> Team::Run(
    Phase phase, const std::string& target, uint64_t total,
    const std::function<bool(const Progress&)>& report) {
  for (Member& member : members_) {
    member.done = 0;
    member.finished = false;
  }
  WHALE_RETURN_IF_ERROR(
      Say(absl::StrCat(phase == Phase::kLoad ? kLoad : kRun, target)));
  WHALE_RETURN_IF_ERROR(AwaitReady());
  const int64_t start_ns = MonotonicNs() + kHeadStartNs;
  WHALE_RETURN_IF_ERROR(Say(absl::StrCat(kStart, start_ns)));

  PhaseResult all;
  Progress progress{.phase = phase, .total = total};
  int64_t reported_ns = start_ns;
  while (!Finished()) {
    std::vector<pollfd> fds;
    for (const Member& member : members_) {
      fds.push_back({.fd = member.finished ? -1 : member.fd, .events = POLLIN});
    }
    poll(fds.data(), fds.size(), 1000);
    for (size_t i = 0; i < members_.size(); ++i) {
      if (fds[i].revents == 0) continue;
      do {
        WHALE_RETURN_IF_ERROR(Take(&members_[i], &all, &progress));
      } while (absl::StrContains(members_[i].received, '\n'));
    }
    const int64_t now_ns = MonotonicNs();
    if (now_ns - reported_ns < 1'000'000'000) continue;
    progress.elapsed_ns = now_ns - start_ns;
    progress.recent_ns = now_ns - reported_ns;
    if (!report(progress)) return absl::CancelledError("interrupted");
    progress.recent_operations = 0;
    reported_ns = now_ns;
  }
  return all;
}

}  // namespace whale::bench::ycsb
