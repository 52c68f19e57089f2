#include "fabric/verbs/setup_message.h"

#include <bit>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "fabric/fabric.h"

namespace whale::fabric::verbs {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kMost24Bits = (1 << 24) - 1;
constexpr uint32_t kMostReadDepth = 255;

bool IsMtu(uint32_t bytes) {
  return std::has_single_bit(bytes) && bytes >= 256 && bytes <= 4096;
}

absl::Status CheckSetup(const SetupMessage& m, size_t text_bytes) {
  if (m.magic != SetupMessage::kMagic) {
    return absl::InvalidArgumentError(
        "verbs: the peer is no verbs fabric; is this a --fabric-listen address "
        "of a server?");
  }
  if (m.version != SetupMessage::kVersion) {
    return absl::InvalidArgumentError(absl::StrCat(
        "verbs: the peer sets connections up by version ", m.version,
        ", this end by ", SetupMessage::kVersion, "; use matching releases"));
  }
  if (m.kind < SetupKind::kHello || m.kind > SetupKind::kReady ||
      text_bytes > kMaxHelloBytes) {
    return absl::InvalidArgumentError("verbs: the peer sent a bad message");
  }
  if (m.kind == SetupKind::kReject || m.kind == SetupKind::kReady) {
    return absl::OkStatus();
  }
  if (m.queue_pair > kMost24Bits || m.packet_sequence > kMost24Bits ||
      !IsMtu(m.mtu_bytes) || m.credits == 0 || m.read_depth > kMostReadDepth) {
    return absl::InvalidArgumentError(
        "verbs: the peer's queue pair has impossible values");
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeSetup(const SetupMessage& message, std::string_view text) {
  std::string bytes(sizeof(message) + text.size(), '\0');
  std::memcpy(bytes.data(), &message, sizeof(message));
  std::memcpy(bytes.data() + sizeof(message), text.data(), text.size());
  return bytes;
}

absl::StatusOr<ReceivedSetup> DecodeSetup(std::string_view bytes) {
  ReceivedSetup received;
  if (bytes.size() < sizeof(received.message)) {
    return absl::InvalidArgumentError("verbs: the peer's message is too short");
  }
  std::memcpy(static_cast<void*>(&received.message), bytes.data(),
              sizeof(received.message));
  const std::string_view text = bytes.substr(sizeof(received.message));
  const absl::Status status = CheckSetup(received.message, text.size());
  if (!status.ok()) return status;
  received.text = std::string(text);
  return received;
}

}  // namespace whale::fabric::verbs
