#include "tools/dpkg_status.h"

#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace whale::tools {
namespace {

// "name" of "Field: name"; empty if the line is another field's.
std::string FieldOf(const std::string& line, std::string_view field) {
  if (!line.starts_with(field)) return "";
  return std::string(
      absl::StripAsciiWhitespace(absl::string_view(line).substr(field.size())));
}

}  // namespace

absl::StatusOr<std::optional<KeyValue>> DpkgStatusReader::Next() {
  std::string line, name, architecture;
  KeyValue record;
  uint64_t first_line = 0;
  while (true) {
    WHALE_ASSIGN_OR_RETURN(const bool more, lines_.Next(&line));
    if (!more || line.empty()) {
      if (!record.value.empty()) break;
      if (!more) return std::nullopt;
      continue;
    }
    if (record.value.empty()) first_line = lines_.number();
    if (name.empty()) name = FieldOf(line, "Package:");
    if (architecture.empty()) architecture = FieldOf(line, "Architecture:");
    absl::StrAppend(&record.value, line, "\n");
  }
  if (name.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("line ", first_line,
                     ": a paragraph without a Package field; is this a dpkg "
                     "status file?"));
  }
  record.key =
      names_.insert(name).second ? name : absl::StrCat(name, ":", architecture);
  return record;
}

}  // namespace whale::tools
