// whale doctor: persistent memory.
#include <libpmem.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/units.h"
#include "pmem/dax_platform.h"
#include "pmem/pool_file.h"
#include "tools/doctor_checks.h"
#include "tools/host.h"
#include "tools/status_text.h"

namespace whale::tools {
namespace {

struct DaxMount {
  std::string directory;
  bool dax = false;
};

// Where a block device is mounted; empty directory: nowhere.
DaxMount MountOf(const std::string& device) {
  std::ifstream mounts("/proc/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string source, directory, type, options;
    fields >> source >> directory >> type >> options;
    if (source != device) continue;
    // "dax", "dax=always" (and "dax=inode", by file: libpmem will tell).
    const std::string padded = "," + options + ",";
    return {directory, absl::StrContains(padded, ",dax,") ||
                           absl::StrContains(padded, ",dax=always,") ||
                           absl::StrContains(padded, ",dax=inode,")};
  }
  return {};
}

std::string RegionText(const std::vector<pmem::DaxRegion>& regions) {
  if (regions.empty()) return "not of an NVDIMM; survives: process";
  const pmem::DaxRegion& region = regions[0];
  return absl::StrCat(
      region.name, " of ", region.provider, ", persistence domain ",
      region.persistence_domain.empty() ? "not told"
                                        : region.persistence_domain,
      region.numa_node >= 0 ? absl::StrCat(", NUMA node ", region.numa_node)
                            : "",
      "; survives ",
      std::string(SurvivesText(pmem::SurvivesName(pmem::WeakestOf(regions)))));
}

Finding DamageFinding(const std::string& device, const std::string& ranges) {
  return {device, Verdict::kProblem, absl::StrCat("damaged at ", ranges),
          "let the server that lies there be refilled: remove its pool; "
          "ndctl clear-errors"};
}

void CheckBlockDevice(const DoctorFlags& flags, const std::string& name,
                      Findings* findings) {
  const std::string directory = flags.sysfs + "/class/block/" + name;
  const std::string device = "/dev/" + name;
  const auto regions = pmem::DaxRegionsAt(directory);
  const DaxMount mount = MountOf(device);
  Finding finding{device, Verdict::kOk, RegionText(regions), ""};
  if (mount.directory.empty()) {
    finding.verdict = Verdict::kNote;
    finding.cure =
        absl::StrCat("to use it: mkfs.ext4 -b 4096 ", device,
                     " and mount -o dax=always ", device, " DIRECTORY");
  } else {
    absl::StrAppend(&finding.text, "; mounted on ", mount.directory,
                    mount.dax ? " with DAX" : " without DAX");
    if (!mount.dax) {
      finding.verdict = Verdict::kNote;
      finding.cure = "mount it with -o dax=always";
    }
  }
  findings->push_back(std::move(finding));
  if (const std::string bad = LineIn(directory + "/badblocks"); !bad.empty()) {
    findings->push_back(
        DamageFinding(device, "sector and number of sectors " + bad));
  }
}

void CheckDaxDevice(const DoctorFlags& flags, const std::string& name,
                    Findings* findings) {
  const std::string directory = flags.sysfs + "/bus/dax/devices/" + name;
  const std::string device = "/dev/" + name;
  const bool usable =
      LineIn(directory + "/driver/module/initstate") == "live" ||
      access(device.c_str(), F_OK) == 0;
  if (!usable) return;
  findings->push_back(
      {device, Verdict::kOk,
       absl::StrCat(RegionText(pmem::DaxRegionsAt(directory)),
                    "; a server's pool there: ln -s ", device,
                    " DIRECTORY/pool"),
       access(device.c_str(), R_OK | W_OK) == 0
           ? ""
           : "give the server's user access: chown USER " + device});
  for (const pmem::ByteRange& range : pmem::DamagedRangesAt(directory)) {
    findings->push_back(DamageFinding(
        device,
        absl::StrCat("offset ", range.offset, ", ", range.bytes, " bytes")));
  }
}

// Makes a small pool there: what it says is what a server would.
Finding CheckPoolsIn(const std::string& directory) {
  const std::string what = "pools in " + directory;
  std::string pattern = directory + "/whale-doctor.XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    return {what, Verdict::kProblem, "no file can be made there",
            "give --dir a directory that the server's user may write to"};
  }
  const std::string path = pattern + "/pool";
  Finding finding{what, Verdict::kOk, "", ""};
  const auto file =
      pmem::PoolFile::Create(path, kMiB, pmem::DomainKind::kPmem, {});
  if (file.ok()) {
    const auto survives = (*file)->domain().survives();
    finding.text =
        absl::StrCat("DAX (MAP_SYNC); with --domain pmem they survive ",
                     std::string(SurvivesText(pmem::SurvivesName(survives))));
    if (survives != pmem::Survives::kPower) finding.verdict = Verdict::kNote;
  } else if (absl::IsFailedPrecondition(file.status())) {
    finding.verdict = Verdict::kNote;
    finding.text =
        "no DAX; with --domain shm they survive a crash of processes, not of "
        "the machine";
  } else {
    finding.verdict = Verdict::kProblem;
    finding.text = std::string(file.status().message());
  }
  unlink(path.c_str());
  rmdir(pattern.c_str());
  return finding;
}

// Adapters may write into a cache that does not survive.
Finding CheckCaches() {
  if (pmem_has_auto_flush() == 1) {
    return {"processor caches", Verdict::kOk,
            "survive loss of power too (eADR)", ""};
  }
  const bool intel = absl::StrContains(ProcessorText(), "Intel");
  return {"processor caches", Verdict::kNote,
          absl::StrCat("do not survive loss of power",
                       intel ? "; Intel's DDIO puts what adapters write into "
                               "them: a READ after a write proves nothing "
                               "unless DDIO is off"
                             : "; adapters may write into them"),
          intel ? "leave the flush method to Whale, or turn DDIO off for the "
                  "adapter's root port (firmware set-up) and say so (ddio=off)"
                : ""};
}

}  // namespace

void CheckPersistentMemory(const DoctorFlags& flags, Findings* findings) {
  const auto blocks = NamesIn(flags.sysfs + "/class/block", "pmem");
  const auto devices = NamesIn(flags.sysfs + "/bus/dax/devices", "dax");
  if (blocks.empty() && devices.empty()) {
    findings->push_back({"persistent memory", Verdict::kNote, "none", ""});
  }
  for (const std::string& name : blocks)
    CheckBlockDevice(flags, name, findings);
  for (const std::string& name : devices) CheckDaxDevice(flags, name, findings);
  if (!blocks.empty() || !devices.empty()) findings->push_back(CheckCaches());
  findings->push_back(CheckPoolsIn(flags.dir));
}

}  // namespace whale::tools
