// whale doctor: RDMA adapters, as the kernel shows them.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tools/doctor_checks.h"

namespace whale::tools {
namespace {

// "4: ACTIVE" -> "ACTIVE".
std::string AfterColon(const std::string& text) {
  const size_t colon = text.find(": ");
  return colon == std::string::npos ? text : text.substr(colon + 2);
}

int AdapterNode(const std::string& device_directory) {
  int node = -1;
  return absl::SimpleAtoi(LineIn(device_directory + "/device/numa_node"), &node)
             ? node
             : -1;
}

// The port's addresses, each with its index, kind and interface.
Findings PortAddresses(const std::string& what, const std::string& port) {
  Findings findings;
  std::vector<std::string> indexes = NamesIn(port + "/gids");
  std::sort(indexes.begin(), indexes.end(),
            [](const std::string& a, const std::string& b) {
              return std::pair(a.size(), a) < std::pair(b.size(), b);
            });
  for (const std::string& index : indexes) {
    const std::string gid = LineIn(absl::StrCat(port, "/gids/", index));
    // The upper half alone is the prefix of an unused entry.
    if (gid.empty() || absl::EndsWith(gid, "0000:0000:0000:0000")) continue;
    const std::string type =
        LineIn(absl::StrCat(port, "/gid_attrs/types/", index));
    const std::string interface =
        LineIn(absl::StrCat(port, "/gid_attrs/ndevs/", index));
    findings.push_back(
        {absl::StrCat(what, " GID ", index), Verdict::kOk,
         absl::StrCat(gid, type.empty() ? "" : ", " + type,
                      interface.empty() ? "" : ", of " + interface),
         ""});
  }
  return findings;
}

void CheckAdapterPort(const std::string& device, const std::string& directory,
                      const std::string& number, Findings* findings) {
  const std::string port = absl::StrCat(directory, "/ports/", number);
  const std::string what = absl::StrCat(device, " port ", number);
  const std::string state = AfterColon(LineIn(port + "/state"));
  const bool active = state == "ACTIVE";
  findings->push_back(
      {what, active ? Verdict::kOk : Verdict::kNote,
       absl::StrCat(state, ", ", LineIn(port + "/link_layer"), ", ",
                    LineIn(port + "/rate")),
       active ? ""
              : "check cable and switch; on Ethernet: ip link set INTERFACE "
                "up"});
  const Findings gids = PortAddresses(what, port);
  if (gids.empty() && active) {
    findings->push_back({what + " GIDs", Verdict::kProblem,
                         "none: the port has no address",
                         "give its interface one: ip address add"});
  }
  findings->insert(findings->end(), gids.begin(), gids.end());
}

// Memory on another node than the adapter costs each transfer a hop.
void CheckDistance(const DoctorFlags& flags, const std::string& device,
                   int node, Findings* findings) {
  for (const std::string& region :
       NamesIn(flags.sysfs + "/bus/nd/devices", "region")) {
    int other = -1;
    if (!absl::SimpleAtoi(LineIn(absl::StrCat(flags.sysfs, "/bus/nd/devices/",
                                              region, "/numa_node")),
                          &other) ||
        node < 0 || other < 0 || node == other) {
      continue;
    }
    findings->push_back(
        {device, Verdict::kNote,
         absl::StrCat("on NUMA node ", node, ", the persistent memory of ",
                      region, " on node ", other),
         absl::StrCat("put the pool on memory of node ", node,
                      ", and the server too: numactl --cpunodebind=", node)});
  }
}

}  // namespace

void CheckAdapters(const DoctorFlags& flags, Findings* findings) {
  const std::string directory = flags.sysfs + "/class/infiniband";
  const std::vector<std::string> devices = NamesIn(directory);
  if (devices.empty()) {
    findings->push_back(
        {"RDMA adapters", Verdict::kNote,
         "none; servers of one machine use shared memory",
         "for a trial over Ethernet: rdma link add rxe0 type rxe netdev "
         "INTERFACE"});
  }
  for (const std::string& device : devices) {
    const std::string own = absl::StrCat(directory, "/", device);
    const int node = AdapterNode(own);
    findings->push_back(
        {device, Verdict::kOk,
         absl::StrCat("firmware ", LineIn(own + "/fw_ver"),
                      node >= 0 ? absl::StrCat(", NUMA node ", node) : ""),
         ""});
    for (const std::string& port : NamesIn(own + "/ports")) {
      CheckAdapterPort(device, own, port, findings);
    }
    CheckDistance(flags, device, node, findings);
  }
}

}  // namespace whale::tools
