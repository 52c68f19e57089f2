#include "fabric/shm/shm_fabric.h"

#include "fabric/shm/fabric_impl.h"

namespace whale::fabric {

absl::StatusOr<std::unique_ptr<Fabric>> CreateShmFabric(
    const ShmOptions& options) {
  return shm::ShmFabric::Create(options);
}

}  // namespace whale::fabric
