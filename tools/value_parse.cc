#include "tools/value_parse.h"

#include <limits>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace whale::tools {
namespace {

absl::string_view Absl(std::string_view text) {
  return {text.data(), text.size()};
}

// 0 when there is no such unit.
uint64_t UnitFactor(std::string_view unit) {
  const std::string u = absl::AsciiStrToLower(Absl(unit));
  if (u.empty() || u == "b") return 1;
  static constexpr std::string_view kPrefixes = "kmgt";
  const size_t power = kPrefixes.find(u[0]);
  if (power == std::string_view::npos) return 0;
  const std::string_view rest = std::string_view(u).substr(1);
  const bool binary = rest.empty() || rest == "i" || rest == "ib";
  if (!binary && rest != "b") return 0;
  uint64_t factor = 1;
  for (size_t i = 0; i <= power; ++i) factor *= binary ? 1024 : 1000;
  return factor;
}

}  // namespace

absl::StatusOr<uint64_t> ParseBytes(std::string_view text) {
  size_t digits = 0;
  while (digits < text.size() && absl::ascii_isdigit(text[digits])) ++digits;
  std::string_view unit = text.substr(digits);
  while (!unit.empty() && unit[0] == ' ') unit.remove_prefix(1);
  uint64_t number = 0;
  const uint64_t factor = UnitFactor(unit);
  if (!absl::SimpleAtoi(Absl(text.substr(0, digits)), &number) || factor == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", Absl(text),
                     "\" is not a size; write for example 4096, 64KiB or "
                     "1GiB"));
  }
  if (number > std::numeric_limits<uint64_t>::max() / factor) {
    return absl::InvalidArgumentError(
        absl::StrCat("the size \"", Absl(text), "\" is beyond 64 bits"));
  }
  return number * factor;
}

std::string FormatBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (unit < 4 && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrCat(bytes, kUnits[unit]);
}

absl::StatusOr<absl::Duration> ParseDuration(std::string_view text) {
  absl::Duration duration;
  if (!absl::ParseDuration(Absl(text), &duration) ||
      duration < absl::ZeroDuration() || duration == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", Absl(text),
                     "\" is not a duration; write for example 250ms, 2s or "
                     "1m30s"));
  }
  return duration;
}

absl::StatusOr<uint64_t> ParseCount(std::string_view text, uint64_t min,
                                    uint64_t max) {
  uint64_t number = 0;
  const bool negative = !text.empty() && text[0] == '-';
  if (negative || !absl::SimpleAtoi(Absl(text), &number) || number < min ||
      number > max) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", Absl(text), "\" is not a whole number from ", min, " to ", max));
  }
  return number;
}

absl::StatusOr<bool> ParseBool(std::string_view text) {
  const std::string t = absl::AsciiStrToLower(Absl(text));
  if (t == "true" || t == "1" || t == "yes" || t == "on") return true;
  if (t == "false" || t == "0" || t == "no" || t == "off") return false;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", Absl(text), "\" is neither true nor false"));
}

std::vector<std::string> ParseList(std::string_view text) {
  std::vector<std::string> parts;
  for (absl::string_view part : absl::StrSplit(Absl(text), ',')) {
    part = absl::StripAsciiWhitespace(part);
    if (!part.empty()) parts.emplace_back(part);
  }
  return parts;
}

}  // namespace whale::tools
