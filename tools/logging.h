// Structured logs of the long-running commands, by spdlog, on standard error.
//
// One event per line: time, level, who, and what as text or as JSON
// (--log-format). Never used on the data path.
#ifndef WHALE_TOOLS_LOGGING_H_
#define WHALE_TOOLS_LOGGING_H_

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "tools/options.h"

namespace whale::tools {

struct LogFlags {
  std::string level = "info";
  std::string format = "text";
};
void AddLogFlags(Options* options, LogFlags* flags);

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// `who`: "server 1". Errors: kInvalidArgument (level, format).
absl::Status StartLogging(const LogFlags& flags, const std::string& who);

using LogFields = std::initializer_list<std::pair<const char*, std::string>>;
void Log(LogLevel level, std::string_view event, LogFields fields = {});

}  // namespace whale::tools

#endif  // WHALE_TOOLS_LOGGING_H_
