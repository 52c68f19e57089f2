#include "tools/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace whale::tools {
namespace {

// Runs in the child between fork and exec: only async-signal-safe calls.
[[noreturn]] void Exec(pid_t parent, int output, char* const* arguments) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // A process group of its own: Ctrl-C reaches the parent only, which stops
  // its children in order.
  setpgid(0, 0);
  if (output >= 0) {
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
  }
  execv("/proc/self/exe", arguments);
  _exit(127);
}

std::string Describe(int wait_status) {
  if (WIFEXITED(wait_status)) {
    return absl::StrCat("exit code ", WEXITSTATUS(wait_status));
  }
  const int signal = WTERMSIG(wait_status);
  return absl::StrCat("signal ", signal, " (", strsignal(signal), ")");
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(
    const std::vector<std::string>& arguments, const std::string& output_path) {
  int output = -1;
  if (!output_path.empty()) {
    output = open(output_path.c_str(),
                  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (output < 0) {
      return absl::UnavailableError(absl::StrCat("cannot write ", output_path,
                                                 ": ", std::strerror(errno)));
    }
  }
  std::vector<std::string> words = {"whale"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) Exec(parent, output, pointers.data());
  const int error = errno;
  if (output >= 0) close(output);
  if (pid < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot start a process: ", std::strerror(error)));
  }
  return ChildProcess(pid);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), wait_status_(other.wait_status_) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(wait_status_, other.wait_status_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0 || Ended()) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::optional<std::string> ChildProcess::Ended() {
  if (!wait_status_) {
    int wait_status = 0;
    if (waitpid(pid_, &wait_status, WNOHANG) != pid_) return std::nullopt;
    wait_status_ = wait_status;
  }
  return Describe(*wait_status_);
}

int ChildProcess::exit_code() const {
  return wait_status_ && WIFEXITED(*wait_status_) ? WEXITSTATUS(*wait_status_)
                                                  : -1;
}

void ChildProcess::Signal(int signal) const {
  if (!wait_status_) kill(pid_, signal);
}

bool ChildProcess::WaitFor(absl::Duration timeout) {
  if (Ended()) return true;
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (fd < 0) return Ended().has_value();
  pollfd event{fd, POLLIN, 0};
  poll(&event, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  close(fd);
  return Ended().has_value();
}

}  // namespace whale::tools
