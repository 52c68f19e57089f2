// whale doctor: locked memory and huge pages.
#include <pwd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "tools/doctor_checks.h"
#include "tools/status_text.h"

namespace whale::tools {
namespace {

std::string UserName() {
  const passwd* user = getpwuid(geteuid());
  return user != nullptr ? user->pw_name : absl::StrCat(geteuid());
}

// An adapter needs all that it may write to locked.
Finding CheckLockedMemory(const DoctorFlags& flags) {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  if (limit.rlim_cur == RLIM_INFINITY || geteuid() == 0) {
    return {"locked memory", Verdict::kOk,
            geteuid() == 0 && limit.rlim_cur != RLIM_INFINITY
                ? "no limit for root; other users have one"
                : "unlimited",
            ""};
  }
  const bool adapter = !NamesIn(flags.sysfs + "/class/infiniband").empty();
  const std::string text = absl::StrCat("at most ", HumanBytes(limit.rlim_cur));
  if (!adapter) {
    return {"locked memory", Verdict::kOk,
            text + "; enough without an RDMA adapter", ""};
  }
  return {
      "locked memory",
      limit.rlim_cur < flags.pool_bytes ? Verdict::kProblem : Verdict::kNote,
      absl::StrCat(text, ", and an RDMA adapter needs a pool of ",
                   HumanBytes(flags.pool_bytes), " and buffers locked"),
      MemlockCure()};
}

Finding CheckHugePages(const DoctorFlags& flags) {
  const std::string dir = flags.sysfs + "/kernel/mm/hugepages/hugepages-2048kB";
  const std::string total = LineIn(dir + "/nr_hugepages");
  if (total.empty()) {
    return {"huge pages", Verdict::kNote, "the kernel has none of 2 MiB", ""};
  }
  std::string text = absl::StrCat(LineIn(dir + "/free_hugepages"), " of ",
                                  total, " of 2 MiB free");
  const std::string transparent =
      LineIn(flags.sysfs + "/kernel/mm/transparent_hugepage/shmem_enabled");
  if (!transparent.empty()) {
    absl::StrAppend(&text, "; for shared memory by itself: ", transparent);
  }
  return {"huge pages", Verdict::kOk, text, ""};
}

}  // namespace

std::string MemlockCure() {
  return absl::StrCat(
      "in the unit: LimitMEMLOCK=infinity; for logins, in "
      "/etc/security/limits.conf: ",
      UserName(), " - memlock unlimited");
}

void CheckLimits(const DoctorFlags& flags, Findings* findings) {
  findings->push_back(CheckLockedMemory(flags));
  findings->push_back(CheckHugePages(flags));
}

}  // namespace whale::tools
