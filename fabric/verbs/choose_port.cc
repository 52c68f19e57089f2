// The choice itself; needs no device.
#include <arpa/inet.h>

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fabric/verbs/device.h"

namespace whale::fabric::verbs {
namespace {

constexpr RawGid kLoopbackV6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

// Higher is better; 0 is never chosen by itself.
int Rank(const Port& port, const Gid& gid) {
  if (!port.ethernet) return gid.type == GidType::kInfiniband ? 4 : 0;
  if (gid.type != GidType::kRoceV2) return 0;
  if (IsLoopback(gid.raw)) return 1;
  if (IsLinkLocal(gid.raw)) return 2;
  return IsIpv4(gid.raw) ? 4 : 3;
}

bool Admits(const VerbsOptions& options, const Port& port) {
  return (options.device.empty() || options.device == port.device) &&
         (options.port == 0 || options.port == port.number);
}

// The best GID of a port; nullptr: none will do.
const Gid* BestGid(const Port& port, const VerbsOptions& options) {
  const Gid* best = nullptr;
  for (const Gid& gid : port.gids) {
    if (options.gid_index >= 0) {
      if (static_cast<int>(gid.index) == options.gid_index) return &gid;
    } else if (Rank(port, gid) > (best == nullptr ? 0 : Rank(port, *best))) {
      best = &gid;
    }
  }
  return best;
}

std::string NamesOf(const std::vector<Port>& ports) {
  return absl::StrJoin(ports, ", ", [](std::string* out, const Port& port) {
    absl::StrAppend(out, port.device, " port ", port.number,
                    port.active ? " (active, " : " (down, ", port.gids.size(),
                    " GIDs)");
  });
}

std::string Wanted(const VerbsOptions& options) {
  std::string text;
  if (!options.device.empty()) absl::StrAppend(&text, " ", options.device);
  if (options.port != 0) absl::StrAppend(&text, " port ", options.port);
  if (options.gid_index >= 0) {
    absl::StrAppend(&text, " GID index ", options.gid_index);
  }
  return text;
}

}  // namespace

std::string_view GidTypeName(GidType type) {
  switch (type) {
    case GidType::kInfiniband:
      return "InfiniBand";
    case GidType::kRoceV1:
      return "RoCE v1";
    case GidType::kRoceV2:
      return "RoCE v2";
  }
  return "unknown";
}

bool IsIpv4(const RawGid& gid) {
  return std::all_of(gid.begin(), gid.begin() + 10,
                     [](uint8_t byte) { return byte == 0; }) &&
         gid[10] == 0xff && gid[11] == 0xff;
}

bool IsLinkLocal(const RawGid& gid) {
  if (IsIpv4(gid)) return gid[12] == 169 && gid[13] == 254;
  return gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80;
}

bool IsLoopback(const RawGid& gid) {
  return IsIpv4(gid) ? gid[12] == 127 : gid == kLoopbackV6;
}

std::string GidText(const RawGid& gid) {
  char text[INET6_ADDRSTRLEN];
  const bool ipv4 = IsIpv4(gid);
  inet_ntop(ipv4 ? AF_INET : AF_INET6, gid.data() + (ipv4 ? 12 : 0), text,
            sizeof(text));
  return text;
}

absl::StatusOr<PortChoice> ChoosePort(const std::vector<Port>& ports,
                                      const VerbsOptions& options) {
  const Port* best = nullptr;
  const Gid* best_gid = nullptr;
  int best_rank = -1;
  bool admitted = false, active = false;
  for (const Port& port : ports) {
    if (!Admits(options, port)) continue;
    admitted = true;
    if (!port.active) continue;
    active = true;
    const Gid* gid = BestGid(port, options);
    if (gid == nullptr || Rank(port, *gid) <= best_rank) continue;
    best = &port;
    best_gid = gid;
    best_rank = Rank(port, *gid);
  }
  if (best != nullptr) return PortChoice{*best, *best_gid};
  if (!admitted) {
    return absl::NotFoundError(absl::StrCat(
        "verbs: there is no", Wanted(options), "; there is: ", NamesOf(ports)));
  }
  if (!active) {
    return absl::FailedPreconditionError(
        absl::StrCat("verbs: no port", Wanted(options),
                     " is active; bring its link up (ibv_devinfo shows the "
                     "state); there is: ",
                     NamesOf(ports)));
  }
  if (options.gid_index >= 0) {
    return absl::NotFoundError(
        absl::StrCat("verbs: no active port has", Wanted(options),
                     "; leave gid-index out to have one chosen"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("verbs: no active port has a RoCE v2 GID; give its network "
                   "interface an IP address (",
                   NamesOf(ports), ")"));
}

std::string DescribeChoice(const PortChoice& choice, uint32_t mtu_bytes) {
  return absl::StrCat(choice.port.device, " port ", choice.port.number, ", ",
                      std::string(GidTypeName(choice.gid.type)), ", GID ",
                      choice.gid.index, " (", GidText(choice.gid.raw),
                      "), MTU ", mtu_bytes);
}

}  // namespace whale::fabric::verbs
