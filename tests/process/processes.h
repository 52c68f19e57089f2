// Child processes of the process-level tests: start, signal, wait, find.
//
// Every child carries an environment variable with a tag, and so do its own
// children: whatever a test started can be found again in /proc, orphans
// included.
//
// Thread-safety: none. Failure: errors of the host (no fork, no pidfd) end the
// test process.
#ifndef WHALE_TESTS_PROCESS_PROCESSES_H_
#define WHALE_TESTS_PROCESS_PROCESSES_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace whale::process_test {

// Environment variable that marks the children of a test.
inline constexpr char kTagVariable[] = "PROCESS_TEST_TAG";

class ChildProcess {
 public:
  // Starts `arguments[0]`. Standard input is empty; output and errors are
  // appended to `output_path`.
  ChildProcess(const std::vector<std::string>& arguments,
               const std::string& tag, const std::string& output_path);
  // Kills and reaps it if it still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // True once it is gone (and reaped), false at the end of the time.
  bool WaitExit(int timeout_ms);
  // As waitpid gives it. REQUIRES: WaitExit was true.
  int wait_status() const { return wait_status_; }
  bool exited() const { return exited_; }

 private:
  const pid_t pid_;
  int pidfd_ = -1;
  bool exited_ = false;
  int wait_status_ = 0;
};

struct CommandResult {
  int exit_code = -1;  // 128 + signal if a signal ended it
  std::string output;  // and errors, together
};
// Runs a command to its end, at most `timeout_ms`; a longer one is killed.
CommandResult RunCommand(const std::vector<std::string>& arguments,
                         const std::string& tag, int timeout_ms = 60'000);

// Running processes that carry the tag, this one and zombies excluded.
std::vector<pid_t> FindTagged(const std::string& tag);
// kill -9 of all of them at once; returns when each is gone with all its
// threads, and so with its ports and files.
void KillAndAwait(const std::vector<pid_t>& pids);
// Command line of a process, words separated by blanks; empty if it is gone.
std::string CommandLineOf(pid_t pid);

// Tries `condition` until it holds; false at the end of the time.
bool WaitFor(const std::function<bool()>& condition, int timeout_ms);

std::string ReadFile(const std::string& path);
// Names in a folder, sorted; empty if there is none.
std::vector<std::string> ListFolder(const std::string& path);

}  // namespace whale::process_test

#endif  // WHALE_TESTS_PROCESS_PROCESSES_H_
