// whale doctor: the host itself.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tools/doctor_checks.h"
#include "tools/host.h"
#include "tools/net.h"
#include "tools/status_text.h"

namespace whale::tools {
namespace {

Finding CheckKernel() {
  // pidfd_open, from Linux 5.3, tells a dead peer from a slow one.
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  if (fd < 0) {
    return {"kernel", Verdict::kProblem, KernelText() + " has no pidfd_open",
            "use Linux 5.3 or newer"};
  }
  close(fd);
  return {"kernel", Verdict::kOk, KernelText(), ""};
}

Finding CheckProcessor() {
  const std::string text =
      absl::StrCat(sysconf(_SC_NPROCESSORS_ONLN), " x ", ProcessorText());
  if (!__builtin_cpu_supports("sse4.2")) {
    return {"processor", Verdict::kNote,
            text + "; without SSE 4.2 checksums are slow", ""};
  }
  return {"processor", Verdict::kOk, text, ""};
}

Finding CheckPools(const DoctorFlags& flags) {
  const uint64_t needed = flags.pool_bytes * flags.replicas;
  const absl::Status status = CheckSpace(flags.dir, needed);
  if (!status.ok()) {
    return {"space for pools", Verdict::kProblem, std::string(status.message()),
            ""};
  }
  return {"space for pools", Verdict::kOk,
          absl::StrCat(flags.replicas, " pools of ",
                       HumanBytes(flags.pool_bytes), " fit into ", flags.dir),
          ""};
}

Finding CheckSharedMemory() {
  const auto space = SpaceAt("/dev/shm");
  if (!space.ok()) {
    return {"/dev/shm", Verdict::kProblem,
            std::string(space.status().message()),
            "mount a tmpfs there, or run whale dev with --dir"};
  }
  return {"/dev/shm", Verdict::kOk,
          absl::StrCat(HumanBytes(space->available_bytes), " of ",
                       HumanBytes(space->total_bytes), " free"),
          ""};
}

Finding CheckMemory() {
  const auto available = AvailableMemory();
  if (!available) {
    return {"memory", Verdict::kNote, "/proc/meminfo cannot be read", ""};
  }
  return {"memory", Verdict::kOk, HumanBytes(*available) + " available", ""};
}

Finding CheckOpenFiles() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const std::string text = limit.rlim_cur == RLIM_INFINITY
                               ? std::string("unlimited")
                               : absl::StrCat(limit.rlim_cur);
  // Each connection of the shared memory fabric takes about six.
  if (limit.rlim_cur < 1024) {
    return {"open files", Verdict::kProblem, text + " per process are too few",
            "ulimit -n 65536, or LimitNOFILE=65536 in the unit"};
  }
  return {"open files", Verdict::kOk, text + " per process", ""};
}

Finding CheckPort(int port) {
  const absl::Status status =
      CheckPortIsFree("127.0.0.1", static_cast<uint16_t>(port));
  return {absl::StrCat("port ", port),
          status.ok() ? Verdict::kOk : Verdict::kNote,
          status.ok() ? "free" : std::string(status.message()), ""};
}

}  // namespace

std::vector<std::string> NamesIn(const std::string& directory,
                                 const std::string& prefix) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end;
       !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(prefix)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string LineIn(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

void CheckHost(const DoctorFlags& flags, Findings* findings) {
  for (Finding& finding :
       Findings{CheckKernel(), CheckProcessor(), CheckMemory(),
                CheckSharedMemory(), CheckPools(flags), CheckOpenFiles(),
                CheckPort(7400), CheckPort(7410)}) {
    findings->push_back(std::move(finding));
  }
}

}  // namespace whale::tools
