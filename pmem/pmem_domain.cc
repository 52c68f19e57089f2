#include "pmem/pmem_domain.h"

#include <libpmem.h>

#include "common/check.h"

namespace whale::pmem {

PmemDomain::PmemDomain(bool is_dax, Survives survives)
    : is_dax_(is_dax),
      caches_persist_(is_dax && pmem_has_auto_flush() == 1),
      survives_(survives) {}

void PmemDomain::WriteBack(const void* data, size_t length_bytes) {
  if (is_dax_) {
    pmem_flush(data, length_bytes);
  } else {
    WHALE_CHECK_MSG(pmem_msync(data, length_bytes) == 0,
                    "the medium under the pool failed to persist");
  }
}

void PmemDomain::Fence() {
  if (is_dax_) pmem_drain();
}

}  // namespace whale::pmem
