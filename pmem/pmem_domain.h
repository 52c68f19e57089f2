// Persistent memory by libpmem.
//
// On DAX memory lines are written back by instructions (by none where the
// platform's caches are persistent) and fenced. Elsewhere, if that was allowed,
// each WriteBack is an msync of the pages: correct, and slow.
//
// Failure: an msync that fails stops the process; what was promised could no
// longer be kept.
#ifndef WHALE_PMEM_PMEM_DOMAIN_H_
#define WHALE_PMEM_PMEM_DOMAIN_H_

#include "pmem/domain.h"

namespace whale::pmem {

class PmemDomain final : public PersistenceDomain {
 public:
  // `is_dax`: what pmem_map_file said of the mapping. `survives`: what the
  // medium does once it was written back.
  PmemDomain(bool is_dax, Survives survives);

  std::string_view name() const override { return "pmem"; }
  Survives survives() const override { return survives_; }
  bool persist_is_free() const override { return false; }
  void WriteBack(const void* data, size_t length_bytes) override;
  void Fence() override;

  bool is_dax() const { return is_dax_; }
  // Whether caches belong to what survives (eADR): then one-sided writes need
  // not bypass them.
  bool caches_persist() const { return caches_persist_; }

 private:
  const bool is_dax_;
  const bool caches_persist_;
  const Survives survives_;
};

}  // namespace whale::pmem

#endif  // WHALE_PMEM_PMEM_DOMAIN_H_
