// What `whale doctor` looks at, one function per subject. Each says what is
// there, what that means for a server, and how to cure what is wrong; none
// fails where a machine has nothing of its subject.
//
// Thread-safety: none.
#ifndef WHALE_TOOLS_DOCTOR_CHECKS_H_
#define WHALE_TOOLS_DOCTOR_CHECKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "fabric/verbs/device.h"
#include "tools/security_flags.h"

namespace whale::tools {

enum class Verdict { kOk, kNote, kProblem };

struct Finding {
  std::string what;
  Verdict verdict = Verdict::kOk;
  std::string text;
  std::string cure;  // empty: nothing to do
};
using Findings = std::vector<Finding>;

struct DoctorFlags {
  std::vector<std::string> cluster;
  absl::Duration timeout = absl::Seconds(5);
  std::string fabric = "auto";
  std::string verbs;
  SecurityFlags security;
  uint64_t pool_bytes = 512ull << 20;
  uint32_t replicas = 3;
  std::string dir = "/dev/shm";
  // For tests.
  std::string sysfs = "/sys";
};

// Kernel, processor, memory, room for pools, open files, ports.
void CheckHost(const DoctorFlags& flags, Findings* findings);
// How much may be locked, and huge pages.
void CheckLimits(const DoctorFlags& flags, Findings* findings);
// NVDIMMs, DAX, and what a pool in --dir would survive.
void CheckPersistentMemory(const DoctorFlags& flags, Findings* findings);
// Adapters, their ports, and how far they are from the memory.
void CheckAdapters(const DoctorFlags& flags, Findings* findings);
// What the fabric `verbs` would take of them, and why: adds the reason to what
// CheckAdapters found of each address.
void CheckChoice(const DoctorFlags& flags, Findings* findings);
void AddChoice(const std::vector<fabric::verbs::Port>& ports,
               const fabric::VerbsOptions& options, bool required,
               Findings* findings);
// The coordinators, and each server of theirs through the fabric: one byte is
// written, read at every replica, and deleted.
void CheckPeers(const DoctorFlags& flags, Findings* findings);

// The cure for a limit on locked memory, for a unit and for a login.
std::string MemlockCure();

// Names in a directory of sysfs or /dev, sorted; none if it is not there.
std::vector<std::string> NamesIn(const std::string& directory,
                                 const std::string& prefix = "");
// A file's first line; empty if there is none.
std::string LineIn(const std::string& path);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_DOCTOR_CHECKS_H_
