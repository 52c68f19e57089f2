#include "tests/process/processes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "common/check.h"

extern char** environ;

namespace whale::process_test {
namespace {

using SteadyClock = std::chrono::steady_clock;

pid_t Spawn(const std::vector<std::string>& arguments, const std::string& tag,
            const std::string& output_path) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    envp.push_back(*entry);
  }
  std::string tag_entry = std::string(kTagVariable) + "=" + tag;
  envp.push_back(tag_entry.data());
  envp.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, output_path.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  WHALE_CHECK_MSG(error == 0, "posix_spawn of a test's child");
  return pid;
}

// Waits until the process is gone, all threads of it.
bool AwaitEnd(int pidfd, int timeout_ms) {
  pollfd poll_entry = {.fd = pidfd, .events = POLLIN, .revents = 0};
  int ready;
  do {
    ready = poll(&poll_entry, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  return ready == 1;
}

bool IsZombie(const std::filesystem::path& process) {
  const std::string stat = ReadFile(process / "stat");
  const size_t end_of_name = stat.rfind(')');
  return end_of_name != std::string::npos && stat.size() > end_of_name + 2 &&
         stat[end_of_name + 2] == 'Z';
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments,
                           const std::string& tag,
                           const std::string& output_path)
    : pid_(Spawn(arguments, tag, output_path)) {
  pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  WHALE_CHECK_MSG(pidfd_ >= 0, "pidfd_open of a test's child");
}

ChildProcess::~ChildProcess() {
  if (!exited_) {
    Signal(SIGKILL);
    WaitExit(-1);
  }
  close(pidfd_);
}

void ChildProcess::Signal(int signal) const {
  if (!exited_) kill(pid_, signal);
}

bool ChildProcess::WaitExit(int timeout_ms) {
  if (exited_) return true;
  if (!AwaitEnd(pidfd_, timeout_ms)) return false;
  exited_ = waitpid(pid_, &wait_status_, 0) == pid_;
  return exited_;
}

CommandResult RunCommand(const std::vector<std::string>& arguments,
                         const std::string& tag, int timeout_ms) {
  char output_path[] = "/tmp/whale-test-output.XXXXXX";
  close(mkstemp(output_path));
  CommandResult result;
  {
    ChildProcess child(arguments, tag, output_path);
    if (!child.WaitExit(timeout_ms)) {
      child.Signal(SIGKILL);
      child.WaitExit(-1);
    }
    const int status = child.wait_status();
    result.exit_code =
        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  result.output = ReadFile(output_path);
  unlink(output_path);
  return result;
}

std::vector<pid_t> FindTagged(const std::string& tag) {
  const std::string entry = std::string(kTagVariable) + "=" + tag;
  std::vector<pid_t> found;
  for (const auto& process : std::filesystem::directory_iterator("/proc")) {
    const std::string name = process.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const pid_t pid = static_cast<pid_t>(std::stol(name));
    if (pid == getpid() || IsZombie(process.path())) continue;
    // The variables are separated by zero bytes.
    const std::string environment = '\0' + ReadFile(process.path() / "environ");
    if (environment.find('\0' + entry + '\0') != std::string::npos) {
      found.push_back(pid);
    }
  }
  return found;
}

void KillAndAwait(const std::vector<pid_t>& pids) {
  std::vector<int> pidfds;
  for (const pid_t pid : pids) {
    const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (pidfd >= 0) pidfds.push_back(pidfd);
  }
  for (const int pidfd : pidfds) {
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
  }
  for (const int pidfd : pidfds) {
    AwaitEnd(pidfd, -1);
    close(pidfd);
  }
}

std::string CommandLineOf(pid_t pid) {
  std::string line = ReadFile("/proc/" + std::to_string(pid) + "/cmdline");
  std::replace(line.begin(), line.end(), '\0', ' ');
  return line;
}

bool WaitFor(const std::function<bool()>& condition, int timeout_ms) {
  const auto deadline =
      SteadyClock::now() + std::chrono::milliseconds(timeout_ms);
  while (!condition()) {
    if (SteadyClock::now() >= deadline) return false;
    poll(nullptr, 0, 5);  // lets others run before the next try
  }
  return true;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

std::vector<std::string> ListFolder(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace whale::process_test
