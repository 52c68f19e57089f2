#include "tools/logging.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace whale::tools {
namespace {

bool json = false;
std::string process_name;

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string AsText(std::string_view event, LogFields fields) {
  std::string text(event);
  for (const auto& [name, value] : fields) {
    const bool plain = value.find_first_of(" \"=\n") == std::string_view::npos;
    absl::StrAppend(&text, " ", name, "=");
    absl::StrAppend(&text,
                    plain && !value.empty()
                        ? value
                        : absl::StrCat("\"", absl::CEscape(value), "\""));
  }
  return text;
}

// The members after time and level; the pattern closes the object.
std::string AsJson(std::string_view event, LogFields fields) {
  nlohmann::ordered_json object = {{"process", process_name},
                                   {"event", std::string(event)}};
  for (const auto& [name, value] : fields) object[name] = value;
  const std::string text = object.dump(
      -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return text.substr(1, text.size() - 2);
}

}  // namespace

void AddLogFlags(Options* options, LogFlags* flags) {
  options->AddString("log-level", &flags->level,
                     "least level to log: debug, info, warning, error");
  options->AddString("log-format", &flags->format, "text or json");
}

absl::Status StartLogging(const LogFlags& flags, const std::string& who) {
  const auto level = spdlog::level::from_str(flags.level);
  if (level == spdlog::level::off && flags.level != "off") {
    return absl::InvalidArgumentError(
        absl::StrCat("--log-level: \"", flags.level,
                     "\" is no level; there are debug, info, warning and "
                     "error"));
  }
  if (flags.format != "text" && flags.format != "json") {
    return absl::InvalidArgumentError(absl::StrCat(
        "--log-format: \"", flags.format, "\" is neither text nor json"));
  }
  json = flags.format == "json";
  process_name = who;
  auto logger = spdlog::stderr_logger_mt("whale");
  logger->set_level(level);
  logger->set_pattern(
      json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l",%v})"
           : "%Y-%m-%dT%H:%M:%S.%eZ %l " + who + ": %v",
      spdlog::pattern_time_type::utc);
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
  return absl::OkStatus();
}

void Log(LogLevel level, std::string_view event, LogFields fields) {
  const auto spdlog_level = SpdlogLevel(level);
  if (!spdlog::should_log(spdlog_level)) return;
  spdlog::log(spdlog_level, "{}",
              json ? AsJson(event, fields) : AsText(event, fields));
}

}  // namespace whale::tools
