#include "fabric/verbs/device.h"

#include <infiniband/verbs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "common/status_macros.h"
#include "fabric/verbs/handles.h"

namespace whale::fabric::verbs {
namespace {

constexpr size_t kMostGids = 1024;  // of one device

GidType TypeOf(uint32_t type) {
  switch (type) {
    case IBV_GID_TYPE_ROCE_V2:
      return GidType::kRoceV2;
    case IBV_GID_TYPE_ROCE_V1:
      return GidType::kRoceV1;
    default:
      return GidType::kInfiniband;
  }
}

uint32_t MtuBytes(ibv_mtu mtu) { return 128u << mtu; }

void AddPorts(ibv_context* context, std::vector<Port>* ports) {
  ibv_device_attr device = {};
  if (ibv_query_device(context, &device) != 0) return;
  std::vector<ibv_gid_entry> gids(kMostGids);
  const ssize_t gid_count =
      ibv_query_gid_table(context, gids.data(), gids.size(), 0);
  gids.resize(std::max<ssize_t>(gid_count, 0));
  for (uint32_t number = 1; number <= device.phys_port_cnt; ++number) {
    ibv_port_attr attributes = {};
    if (ibv_query_port(context, static_cast<uint8_t>(number), &attributes) !=
        0) {
      continue;
    }
    Port port;
    port.device = ibv_get_device_name(context->device);
    port.number = number;
    port.active = attributes.state == IBV_PORT_ACTIVE;
    port.ethernet = attributes.link_layer == IBV_LINK_LAYER_ETHERNET;
    port.lid = attributes.lid;
    port.mtu_bytes = MtuBytes(attributes.active_mtu);
    for (const ibv_gid_entry& entry : gids) {
      if (entry.port_num != number) continue;
      Gid gid{.index = entry.gid_index, .type = TypeOf(entry.gid_type)};
      std::memcpy(gid.raw.data(), entry.gid.raw, gid.raw.size());
      port.gids.push_back(gid);
    }
    ports->push_back(std::move(port));
  }
}

}  // namespace

absl::StatusOr<std::vector<Port>> ListPorts() {
  int count = 0;
  ibv_device** devices = ibv_get_device_list(&count);
  if (devices == nullptr || count == 0) {
    if (devices != nullptr) ibv_free_device_list(devices);
    return absl::NotFoundError(
        "verbs: this host has no RDMA device that libibverbs knows; is the "
        "adapter's driver loaded (lsmod, rdma link show) and its provider "
        "installed (ibverbs-providers)?");
  }
  const absl::Cleanup free_list = [&] { ibv_free_device_list(devices); };
  std::vector<Port> ports;
  for (int i = 0; i < count; ++i) {
    const ContextHandle context(ibv_open_device(devices[i]));
    if (context != nullptr) AddPorts(context.get(), &ports);
  }
  if (ports.empty()) {
    return absl::PermissionDeniedError(
        "verbs: the RDMA devices of this host cannot be opened; give this user "
        "access to /dev/infiniband/uverbs*");
  }
  // Not by the order in which drivers were loaded.
  std::sort(ports.begin(), ports.end(), [](const Port& a, const Port& b) {
    return a.device != b.device ? a.device < b.device : a.number < b.number;
  });
  return ports;
}

}  // namespace whale::fabric::verbs
