// Which device, port and GID a fabric uses.
//
// By link state and by how far the address reaches, never by a name or a fixed
// index: those differ between hosts and change with drivers. On Ethernet only
// RoCE v2 GIDs are taken by themselves (v1 cannot be routed), IPv4 and global
// IPv6 before link-local ones; on InfiniBand the port's own GID. What the user
// gives wins, and what it excludes is not used.
#ifndef WHALE_FABRIC_VERBS_DEVICE_H_
#define WHALE_FABRIC_VERBS_DEVICE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "fabric/verbs/verbs_fabric.h"

namespace whale::fabric::verbs {

using RawGid = std::array<uint8_t, 16>;

enum class GidType : uint8_t { kInfiniband, kRoceV1, kRoceV2 };
std::string_view GidTypeName(GidType type);

struct Gid {
  uint32_t index = 0;
  GidType type = GidType::kRoceV2;
  RawGid raw{};
};

// "10.0.0.1" or "fe80::1": of a RoCE GID the address of the interface.
std::string GidText(const RawGid& gid);
bool IsIpv4(const RawGid& gid);
bool IsLinkLocal(const RawGid& gid);
bool IsLoopback(const RawGid& gid);

struct Port {
  std::string device;
  uint32_t number = 1;
  bool active = false;
  bool ethernet = false;  // else InfiniBand
  uint16_t lid = 0;
  uint32_t mtu_bytes = 1024;  // active
  std::vector<Gid> gids;
};

struct PortChoice {
  Port port;
  Gid gid;
};

// All ports of all devices that this process may use. kNotFound: there is no
// device, or no driver for it.
absl::StatusOr<std::vector<Port>> ListPorts();

// Errors: kNotFound (no such device, port or index; names what there is),
// kFailedPrecondition (none is active, or has an address that can be used).
absl::StatusOr<PortChoice> ChoosePort(const std::vector<Port>& ports,
                                      const VerbsOptions& options);

// "mlx5_0 port 1, RoCE v2, GID 3 (10.0.0.1), MTU 4096".
std::string DescribeChoice(const PortChoice& choice, uint32_t mtu_bytes);

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_DEVICE_H_
