// Values of flags as people write them: sizes, durations, numbers, lists.
//
// Errors: kInvalidArgument; the message quotes the text and says what would be
// understood.
#ifndef WHALE_TOOLS_VALUE_PARSE_H_
#define WHALE_TOOLS_VALUE_PARSE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace whale::tools {

// "4096", "64KiB", "8M", "1GiB", "2TB": K, M, G, T and Ki.. are powers of
// 1024; KB, MB, GB, TB powers of 1000.
absl::StatusOr<uint64_t> ParseBytes(std::string_view text);
// The largest binary unit that divides it: "64MiB", "4097".
std::string FormatBytes(uint64_t bytes);

// "250ms", "2s", "1m30s". Not negative.
absl::StatusOr<absl::Duration> ParseDuration(std::string_view text);

// A whole number within [min, max].
absl::StatusOr<uint64_t> ParseCount(std::string_view text, uint64_t min,
                                    uint64_t max);
// "true", "false", "1", "0", "yes", "no", "on", "off".
absl::StatusOr<bool> ParseBool(std::string_view text);
// Parts between commas, without blanks around them; empty ones dropped.
std::vector<std::string> ParseList(std::string_view text);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_VALUE_PARSE_H_
