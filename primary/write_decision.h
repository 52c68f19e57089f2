// What a write request does to its key, decided against the ordered state,
// committed or not (protocol, section 4).
//
// Thread-safety: pure function.
#ifndef WHALE_PRIMARY_WRITE_DECISION_H_
#define WHALE_PRIMARY_WRITE_DECISION_H_

#include <cstdint>

#include "common/ids.h"
#include "logstore/record.h"
#include "proto/wire.h"

namespace whale::primary {

// The key's newest ordered record.
struct OrderedState {
  bool exists = false;   // a put, not a tombstone
  uint64_t version = 0;  // of the put; 0 when it does not exist
  Lsn observed;          // LSN of the record that says so, tombstones included;
                         // 0: there is none
};

struct WriteDecision {
  bool append = false;
  logstore::RecordType type = logstore::RecordType::kPut;  // if append
  // Otherwise: the answer without effect.
  wire::Result result = wire::Result::kOk;
  uint64_t version = 0;
};

inline WriteDecision DecideWrite(wire::RequestType type,
                                 uint64_t expected_version,
                                 const OrderedState& state) {
  using logstore::RecordType;
  const auto no_effect = [&](wire::Result result) {
    return WriteDecision{.result = result, .version = state.version};
  };
  switch (type) {
    case wire::RequestType::kPut:
      return {.append = true, .type = RecordType::kPut};
    case wire::RequestType::kDelete:
      if (!state.exists) return no_effect(wire::Result::kNotFound);
      return {.append = true, .type = RecordType::kDelete};
    case wire::RequestType::kCompareAndPut:
      if (state.version != expected_version) {
        return no_effect(wire::Result::kCompareFailed);
      }
      return {.append = true, .type = RecordType::kPut};
    case wire::RequestType::kDeleteIf:
      if (state.version != expected_version) {
        return no_effect(wire::Result::kCompareFailed);
      }
      if (!state.exists) return no_effect(wire::Result::kNotFound);
      return {.append = true, .type = RecordType::kDelete};
    default:
      return no_effect(wire::Result::kInvalid);
  }
}

}  // namespace whale::primary

#endif  // WHALE_PRIMARY_WRITE_DECISION_H_
