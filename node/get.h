// A get, as a replica works on it.
#ifndef WHALE_NODE_GET_H_
#define WHALE_NODE_GET_H_

#include <cstdint>
#include <string_view>

#include "common/ids.h"
#include "fabric/fabric.h"
#include "node/client_port.h"
#include "proto/wire.h"

namespace whale::node {

enum class ReadLevel : uint8_t { kLinearizable, kSession, kStale };

struct Get {
  fabric::ConnectionId connection;
  uint64_t tag = 0;
  ReadLevel level = ReadLevel::kLinearizable;
  Lsn least_seen;  // of session reads
  wire::BufferGrant buffer{};
  uint64_t hash = 0;
  std::string_view key;  // valid until the next Poll of the fabric
};

inline Get GetOf(const ClientRequest& request, uint64_t hash) {
  Get get{.connection = request.connection,
          .tag = request.header.tag,
          .buffer = request.buffer,
          .hash = hash,
          .key = request.key};
  if ((request.header.flags & wire::kStaleRead) != 0) {
    get.level = ReadLevel::kStale;
  } else if ((request.header.flags & wire::kSessionRead) != 0) {
    get.level = ReadLevel::kSession;
    get.least_seen = Lsn(request.header.argument);
  }
  return get;
}

}  // namespace whale::node

#endif  // WHALE_NODE_GET_H_
