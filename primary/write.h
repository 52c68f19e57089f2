// A write request as the primary sees it: checked, its key in safe memory.
#ifndef WHALE_PRIMARY_WRITE_H_
#define WHALE_PRIMARY_WRITE_H_

#include <cstdint>
#include <string_view>

#include "common/ids.h"
#include "fabric/fabric.h"
#include "proto/wire.h"

namespace whale::primary {

struct Write {
  fabric::ConnectionId connection;
  uint64_t tag = 0;
  wire::RequestType type = wire::RequestType::kPut;
  bool full_durability = false;
  SessionId session;
  RequestNumber request;
  uint64_t expected_version = 0;  // of conditional writes
  uint64_t hash = 0;
  std::string_view key;    // does not change any more
  std::string_view value;  // may change until it is copied
  // Instead of `value`: the client's memory, to be READ.
  bool value_in_buffer = false;
  wire::BufferGrant buffer{};
  uint32_t value_bytes = 0;  // wherever it is
};

}  // namespace whale::primary

#endif  // WHALE_PRIMARY_WRITE_H_
