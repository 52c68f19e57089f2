// Memory that survives a crash of the process and nothing else: tmpfs, or any
// file through the page cache. Persisting it takes nothing.
#ifndef WHALE_PMEM_SHM_DOMAIN_H_
#define WHALE_PMEM_SHM_DOMAIN_H_

#include "pmem/domain.h"

namespace whale::pmem {

class ShmDomain final : public PersistenceDomain {
 public:
  std::string_view name() const override { return "shm"; }
  Survives survives() const override { return Survives::kProcess; }
  bool persist_is_free() const override { return true; }
  void WriteBack(const void*, size_t) override {}
  void Fence() override {}
};

}  // namespace whale::pmem

#endif  // WHALE_PMEM_SHM_DOMAIN_H_
