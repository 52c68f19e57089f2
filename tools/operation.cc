#include "tools/operation.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/units.h"
#include "tools/program.h"
#include "tools/records.h"

namespace whale::tools {
namespace {

using Json = nlohmann::ordered_json;

// {"key": ...}, or "key_base64" where it is no UTF-8; and so for the value.
Json KeyJson(const std::string& key) {
  Json json = Json::parse(FormatRecord(RecordFormat::kJson, key, ""));
  json.erase("value");
  return json;
}

}  // namespace

absl::StatusOr<std::string> ValueOf(const std::string& argument) {
  if (argument != "-") return argument;
  std::string value;
  char buffer[65536];
  while (value.size() <= kMaxValueBytes) {
    const ssize_t got = read(STDIN_FILENO, buffer, sizeof(buffer));
    if (got == 0) return value;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot read standard input: ", std::strerror(errno)));
    }
    value.append(buffer, static_cast<size_t>(got));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("standard input is longer than a value may be (",
                   kMaxValueBytes, " bytes); split it over several keys"));
}

int PrintWrite(const std::string& key,
               const absl::StatusOr<WriteResult>& result, bool json) {
  if (!result.ok()) return PrintOutcome(result.status());
  if (json) {
    Json out = KeyJson(key);
    out["version"] = result->version;
    out["copies"] = result->copies;
    std::printf("%s\n", out.dump().c_str());
  } else {
    std::printf("version %llu, %d %s\n",
                static_cast<unsigned long long>(result->version),
                result->copies, result->copies == 1 ? "copy" : "copies");
  }
  return kExitOk;
}

int PrintRead(const std::string& key, const absl::StatusOr<ReadResult>& result,
              bool json) {
  if (!result.ok()) return PrintOutcome(result.status());
  if (json) {
    Json out =
        Json::parse(FormatRecord(RecordFormat::kJson, key, result->value));
    out["version"] = result->version;
    std::printf("%s\n", out.dump().c_str());
    return kExitOk;
  }
  // Exactly the value's bytes; on a terminal the prompt gets its own line.
  std::fwrite(result->value.data(), 1, result->value.size(), stdout);
  if (isatty(STDOUT_FILENO)) std::putchar('\n');
  if (std::fflush(stdout) != 0) {
    return PrintError(absl::UnavailableError(
        absl::StrCat("cannot write the value: ", std::strerror(errno))));
  }
  return kExitOk;
}

}  // namespace whale::tools
