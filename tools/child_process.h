// A process of this program, started by this program: `whale dev` runs its
// coordinator and servers this way.
//
// The child ends when its parent does, however that ends. Its output goes to a
// file, appended.
//
// Thread-safety: none; start children from the thread that lives longest (the
// kernel ends a child with the thread that started it). Ownership: the
// destructor kills and reaps.
#ifndef WHALE_TOOLS_CHILD_PROCESS_H_
#define WHALE_TOOLS_CHILD_PROCESS_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace whale::tools {

class ChildProcess {
 public:
  // Runs this very program with `arguments`. Empty `output_path`: the parent's
  // own output. Errors: kUnavailable (fork, exec or the file, with errno).
  static absl::StatusOr<ChildProcess> Start(
      const std::vector<std::string>& arguments,
      const std::string& output_path);

  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  pid_t pid() const { return pid_; }
  // How it ended, "exit code 2" or "signal 9 (Killed)"; nullopt while it runs.
  std::optional<std::string> Ended();
  // The exit code once it has ended; -1 for a signal.
  int exit_code() const;
  void Signal(int signal) const;
  // Waits until it has ended; false when it has not in time.
  bool WaitFor(absl::Duration timeout);

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;
  std::optional<int> wait_status_;
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_CHILD_PROCESS_H_
