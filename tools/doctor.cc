// whale doctor: what this host lacks for a server.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/doctor_checks.h"
#include "tools/program.h"

namespace whale::tools {
namespace {

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

void PrintJson(const Findings& findings) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Finding& f : findings) {
    list.push_back({{"what", f.what},
                    {"verdict", VerdictName(f.verdict)},
                    {"text", f.text},
                    {"cure", f.cure}});
  }
  std::printf("%s\n", list.dump(2).c_str());
}

void PrintText(const Findings& findings) {
  for (const Finding& f : findings) {
    std::printf("%-8s %s: %s\n", VerdictName(f.verdict), f.what.c_str(),
                f.text.c_str());
    if (!f.cure.empty()) std::printf("         -> %s\n", f.cure.c_str());
  }
}

int Run(const DoctorFlags& flags, bool json) {
  Findings findings;
  CheckHost(flags, &findings);
  CheckLimits(flags, &findings);
  CheckPersistentMemory(flags, &findings);
  CheckAdapters(flags, &findings);
  CheckChoice(flags, &findings);
  CheckPeers(flags, &findings);
  json ? PrintJson(findings) : PrintText(findings);
  const bool problem = std::any_of(
      findings.begin(), findings.end(),
      [](const Finding& f) { return f.verdict == Verdict::kProblem; });
  return problem ? kExitError : kExitOk;
}

}  // namespace

void RegisterDoctor(Program& program) {
  Command& command = program.Add(
      "doctor", "Checks this host",
      "Kernel, processor, memory, space, limits, persistent memory, adapters, "
      "ports. With --cluster\nalso the servers there, through the fabric: a "
      "byte is written under a key of each shard\n(whale.doctor.N), read at "
      "every replica, and deleted. Exit code 2 when a problem is found.");
  struct Flags {
    DoctorFlags doctor;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  Options& options = command.options;
  options.AddBytes("pool-bytes", &flags->doctor.pool_bytes,
                   "of the pools that shall fit");
  options.AddCount("replicas", &flags->doctor.replicas,
                   "how many of them on this host", 1, 16);
  options.AddString("dir", &flags->doctor.dir, "where they shall lie");
  options.AddList("cluster", &flags->doctor.cluster,
                  "coordinators of a cluster that shall answer");
  options.AddDuration("timeout", &flags->doctor.timeout,
                      "for each answer of the cluster");
  AddSecurityFlags(&options, &flags->doctor.security);
  options.AddString("fabric", &flags->doctor.fabric, "network to its servers");
  options.AddString("verbs", &flags->doctor.verbs,
                    "device=..,gid-index=..; as for whale serve");
  options.AddFlag("json", &flags->json, "print JSON");
  command.run = [flags] { return Run(flags->doctor, flags->json); };
}

}  // namespace whale::tools
