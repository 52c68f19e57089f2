// The text form of VerbsOptions.
#include <bit>
#include <cstdint>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "fabric/verbs/verbs_fabric.h"

namespace whale::fabric {
namespace {

constexpr std::string_view kKeys =
    "device, port, gid-index, mtu, timeout, retries, rnr-retries, "
    "traffic-class, service-level, connections, depth, credits, dial-ms, "
    "flush, ddio";

absl::Status BadValue(std::string_view key, std::string_view value,
                      std::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("verbs: ", std::string(key), "=", std::string(value),
                   "; use ", std::string(wanted)));
}

template <typename T>
absl::Status ParseNumber(std::string_view key, std::string_view value, T least,
                         T most, T* out) {
  T number = 0;
  if (!absl::SimpleAtoi(absl::string_view(value.data(), value.size()),
                        &number) ||
      number < least || number > most) {
    return BadValue(key, value, absl::StrCat(least, " to ", most));
  }
  *out = number;
  return absl::OkStatus();
}

absl::Status ParseFlush(std::string_view value, FlushNeeds* needs) {
  constexpr std::pair<std::string_view, FlushMethod> kMethods[] = {
      {"none", FlushMethod::kNone},
      {"native", FlushMethod::kNativeFlush},
      {"read", FlushMethod::kReadAfterWrite},
      {"receiver", FlushMethod::kReceiverFlush}};
  needs->insist.reset();
  if (value == "auto") return absl::OkStatus();
  for (const auto& [name, method] : kMethods) {
    if (value == name) {
      needs->insist = method;
      return absl::OkStatus();
    }
  }
  return BadValue("flush", value, "auto, native, read, receiver or none");
}

absl::Status ParseOne(std::string_view key, std::string_view value,
                      VerbsOptions* options) {
  constexpr uint32_t kOne = 1;
  if (key == "device") {
    options->device = std::string(value);
    return absl::OkStatus();
  }
  if (key == "port") {
    return ParseNumber<uint32_t>(key, value, kOne, 255, &options->port);
  }
  if (key == "gid-index") {
    return ParseNumber<int>(key, value, 0, 255, &options->gid_index);
  }
  if (key == "mtu") {
    WHALE_RETURN_IF_ERROR(
        ParseNumber<uint32_t>(key, value, 256, 4096, &options->mtu_bytes));
    return std::has_single_bit(options->mtu_bytes)
               ? absl::OkStatus()
               : BadValue(key, value, "256, 512, 1024, 2048 or 4096");
  }
  const struct {
    std::string_view key;
    uint32_t least, most;
    uint32_t* out;
  } numbers[] = {
      {"timeout", 1, 31, &options->timeout},
      {"retries", 0, 7, &options->retry_count},
      {"rnr-retries", 0, 7, &options->rnr_retry_count},
      {"traffic-class", 0, 255, &options->traffic_class},
      {"service-level", 0, 15, &options->service_level},
      {"connections", 1, 1 << 14, &options->max_connections},
      {"depth", 16, 1 << 14, &options->send_queue_depth},
      {"credits", 2, 1 << 12, &options->credits},
  };
  for (const auto& number : numbers) {
    if (key == number.key) {
      return ParseNumber(key, value, number.least, number.most, number.out);
    }
  }
  if (key == "dial-ms") {
    int64_t ms = 0;
    WHALE_RETURN_IF_ERROR(ParseNumber<int64_t>(key, value, 10, 600'000, &ms));
    options->handshake_us = ms * 1000;
    return absl::OkStatus();
  }
  if (key == "flush") return ParseFlush(value, &options->flush);
  if (key == "ddio") {
    options->flush.writes_bypass_caches = value == "off";
    return value == "off" || value == "on" ? absl::OkStatus()
                                           : BadValue(key, value, "on or off");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("verbs: unknown option '", std::string(key), "'; there are ",
                   std::string(kKeys)));
}

}  // namespace

absl::StatusOr<VerbsOptions> ParseVerbsOptions(std::string_view text) {
  VerbsOptions options;
  for (const absl::string_view part :
       absl::StrSplit(absl::string_view(text.data(), text.size()), ',',
                      absl::SkipWhitespace())) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    WHALE_RETURN_IF_ERROR(ParseOne(
        std::string_view(pair.first.data(), pair.first.size()),
        std::string_view(pair.second.data(), pair.second.size()), &options));
  }
  return options;
}

}  // namespace whale::fabric
