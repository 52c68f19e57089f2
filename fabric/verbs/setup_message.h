// What two fabrics tell each other to set a connection up, as it travels over
// an Exchange. Little-endian, fixed size, then a hello or a reason.
//
//   caller                              called
//   kHello (its queue pair)        -->
//                                  <--  kAccept (its queue pair) or kReject
//   kReady                         -->
#ifndef WHALE_FABRIC_VERBS_SETUP_MESSAGE_H_
#define WHALE_FABRIC_VERBS_SETUP_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace whale::fabric::verbs {

enum class SetupKind : uint8_t {
  kHello = 1,
  kAccept = 2,
  kReject = 3,
  kReady = 4,
};

struct SetupMessage {
  static constexpr uint32_t kMagic = 0x76626877;  // "whbv"
  static constexpr uint8_t kVersion = 1;

  uint32_t magic = kMagic;
  uint8_t version = kVersion;
  SetupKind kind = SetupKind::kHello;
  uint8_t ethernet = 0;  // else the LID counts
  uint8_t reserved = 0;
  uint32_t queue_pair = 0;       // 24 bits
  uint32_t packet_sequence = 0;  // first of the sender's; 24 bits
  uint8_t gid[16] = {};
  uint16_t lid = 0;
  uint16_t credits = 0;     // messages the other end may send unanswered
  uint32_t mtu_bytes = 0;   // the most this end can
  uint32_t read_depth = 0;  // READs and CASs the other may have in flight
  uint32_t flush_capabilities = 0;
};
static_assert(sizeof(SetupMessage) == 48);

// The text behind it: hello or reason.
struct ReceivedSetup {
  SetupMessage message;
  std::string text;
};

std::string EncodeSetup(const SetupMessage& message, std::string_view text);
// kInvalidArgument: not one, of another version, or with values that no
// adapter has.
absl::StatusOr<ReceivedSetup> DecodeSetup(std::string_view bytes);

}  // namespace whale::fabric::verbs

#endif  // WHALE_FABRIC_VERBS_SETUP_MESSAGE_H_
