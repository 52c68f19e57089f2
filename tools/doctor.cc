// whale doctor: what this host lacks for a server.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/cluster_flags.h"
#include "tools/host.h"
#include "tools/net.h"
#include "tools/program.h"
#include "tools/status_text.h"

namespace whale::tools {
namespace {

enum class Verdict { kOk, kNote, kProblem };

struct Finding {
  std::string what;
  Verdict verdict;
  std::string text;
};

struct Flags {
  std::vector<std::string> cluster;
  uint64_t pool_bytes = 512ull << 20;
  uint32_t replicas = 3;
  std::string dir = "/dev/shm";
  bool json = false;
};

const char* VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kNote:
      return "note";
    case Verdict::kProblem:
      return "PROBLEM";
  }
  return "";
}

std::vector<std::string> NamesIn(const std::string& dir,
                                 const std::string& prefix = "") {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Finding Kernel() {
  // pidfd_open, from Linux 5.3, tells a dead peer from a slow one.
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  if (fd < 0) {
    return {"kernel", Verdict::kProblem,
            KernelText() + " has no pidfd_open; Linux 5.3 or newer is needed"};
  }
  close(fd);
  return {"kernel", Verdict::kOk, KernelText()};
}

Finding Processor() {
  const std::string text =
      absl::StrCat(sysconf(_SC_NPROCESSORS_ONLN), " x ", ProcessorText());
  if (!__builtin_cpu_supports("sse4.2")) {
    return {"processor", Verdict::kNote,
            text + "; without SSE 4.2 checksums are slow"};
  }
  return {"processor", Verdict::kOk, text};
}

Finding Pools(const Flags& flags) {
  const uint64_t needed = flags.pool_bytes * flags.replicas;
  const absl::Status status = CheckSpace(flags.dir, needed);
  if (!status.ok()) {
    return {"space for pools", Verdict::kProblem,
            std::string(status.message())};
  }
  return {"space for pools", Verdict::kOk,
          absl::StrCat(flags.replicas, " pools of ",
                       HumanBytes(flags.pool_bytes), " fit into ", flags.dir)};
}

Finding SharedMemory() {
  const auto space = SpaceAt("/dev/shm");
  if (!space.ok()) {
    return {"/dev/shm", Verdict::kProblem,
            absl::StrCat(space.status().message(),
                         "; mount a tmpfs there, or run whale dev with --dir")};
  }
  return {"/dev/shm", Verdict::kOk,
          absl::StrCat(HumanBytes(space->available_bytes), " of ",
                       HumanBytes(space->total_bytes), " free")};
}

Finding Memory() {
  const auto available = AvailableMemory();
  if (!available) {
    return {"memory", Verdict::kNote, "/proc/meminfo cannot be read"};
  }
  return {"memory", Verdict::kOk, HumanBytes(*available) + " available"};
}

std::string LimitText(rlim_t limit) {
  return limit == RLIM_INFINITY ? "unlimited" : absl::StrCat(limit);
}

Finding OpenFiles() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  // Each connection of the shared memory fabric takes about six.
  if (limit.rlim_cur < 1024) {
    return {"open files", Verdict::kProblem,
            absl::StrCat(LimitText(limit.rlim_cur),
                         " per process are too few; ulimit -n 65536, or "
                         "LimitNOFILE= in the unit")};
  }
  return {"open files", Verdict::kOk,
          LimitText(limit.rlim_cur) + " per process"};
}

Finding LockedMemory() {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  return {"locked memory",
          limit.rlim_cur == RLIM_INFINITY ? Verdict::kOk : Verdict::kNote,
          LimitText(limit.rlim_cur) +
              (limit.rlim_cur == RLIM_INFINITY
                   ? ""
                   : " bytes; enough for shared memory, an RDMA adapter will "
                     "need LimitMEMLOCK=infinity")};
}

Finding PersistentMemory() {
  std::vector<std::string> devices = NamesIn("/dev", "pmem");
  for (std::string& name : NamesIn("/dev", "dax")) {
    devices.push_back(std::move(name));
  }
  return {"persistent memory", Verdict::kNote,
          devices.empty()
              ? "none; pools survive a crash of processes, not of "
                "the machine"
              : absl::StrCat("/dev/", absl::StrJoin(devices, ", /dev/"),
                             "; use --domain pmem with a --dir on "
                             "a DAX file system there")};
}

Finding Adapters() {
  const std::vector<std::string> devices = NamesIn("/sys/class/infiniband");
  return {"RDMA adapters", Verdict::kNote,
          absl::StrCat(devices.empty() ? std::string("none")
                                       : absl::StrJoin(devices, ", "),
                       "; the verbs fabric is not in this version yet: its "
                       "devices, ports and GIDs are not checked")};
}

void Ports(std::vector<Finding>* findings) {
  for (const int port : {7400, 7410}) {
    const absl::Status status =
        CheckPortIsFree("127.0.0.1", static_cast<uint16_t>(port));
    findings->push_back({absl::StrCat("port ", port),
                         status.ok() ? Verdict::kOk : Verdict::kNote,
                         status.ok() ? "free" : std::string(status.message())});
  }
}

void Coordinators(const Flags& flags, std::vector<Finding>* findings) {
  for (const std::string& address : flags.cluster) {
    const auto parsed = ParseHostPort(address);
    const absl::Status status = parsed.ok()
                                    ? CheckReachable(*parsed, absl::Seconds(2))
                                    : parsed.status();
    findings->push_back(
        {"coordinator " + address,
         status.ok() ? Verdict::kOk : Verdict::kProblem,
         status.ok() ? "reachable"
                     : absl::StrCat("not reachable: ", status.message())});
  }
}

std::vector<Finding> Examine(const Flags& flags) {
  std::vector<Finding> findings = {
      Kernel(),       Processor(),        Memory(),
      SharedMemory(), Pools(flags),       OpenFiles(),
      LockedMemory(), PersistentMemory(), Adapters()};
  Ports(&findings);
  Coordinators(flags, &findings);
  return findings;
}

void Print(const std::vector<Finding>& findings, bool json) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Finding& f : findings) {
    if (json) {
      list.push_back({{"what", f.what},
                      {"verdict", VerdictName(f.verdict)},
                      {"text", f.text}});
    } else {
      std::printf("%-8s %s: %s\n", VerdictName(f.verdict), f.what.c_str(),
                  f.text.c_str());
    }
  }
  if (json) std::printf("%s\n", list.dump(2).c_str());
}

int Run(const Flags& flags) {
  const std::vector<Finding> findings = Examine(flags);
  Print(findings, flags.json);
  for (const Finding& finding : findings) {
    if (finding.verdict == Verdict::kProblem) return kExitError;
  }
  return kExitOk;
}

}  // namespace

void RegisterDoctor(Program& program) {
  Command& command = program.Add(
      "doctor", "Checks this host",
      "Kernel, processor, memory, space, limits, devices, ports. Exit code 2 "
      "when a problem is found.");
  auto flags = std::make_shared<Flags>();
  command.options.AddBytes("pool-bytes", &flags->pool_bytes,
                           "of the pools that shall fit");
  command.options.AddCount("replicas", &flags->replicas,
                           "how many of them on this host", 1, 16);
  command.options.AddString("dir", &flags->dir, "where they shall lie");
  command.options.AddList("cluster", &flags->cluster,
                          "coordinators that shall be reachable");
  command.options.AddFlag("json", &flags->json, "print JSON");
  command.run = [flags] { return Run(*flags); };
}

}  // namespace whale::tools
