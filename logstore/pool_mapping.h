// A pool file's memory, as the store wants it.
#ifndef WHALE_LOGSTORE_POOL_MAPPING_H_
#define WHALE_LOGSTORE_POOL_MAPPING_H_

#include "logstore/pool.h"
#include "pmem/pool_file.h"

namespace whale::logstore {

inline Mapping MappingOf(const pmem::PoolFile& file) {
  return Mapping{.base = file.base(),
                 .length_bytes = file.length(),
                 .fd = file.fd(),
                 .fd_offset = file.fd_offset(),
                 .domain = &file.domain()};
}

}  // namespace whale::logstore

#endif  // WHALE_LOGSTORE_POOL_MAPPING_H_
