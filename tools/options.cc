#include "tools/options.h"

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace whale::tools {
namespace {

absl::Status Explain(const std::string& where, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat(where, ": ", status.message()));
}

// A setter that stores what `parse` makes of the text.
template <typename T, typename Parse>
Options::Setter Store(T* value, Parse parse) {
  return [value, parse](std::string_view text) {
    auto parsed = parse(text);
    if (!parsed.ok()) return parsed.status();
    *value = *std::move(parsed);
    return absl::OkStatus();
  };
}

}  // namespace

Environment ProcessEnvironment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

Options::Options(CLI::App* app, std::string command)
    : app_(app), command_(std::move(command)) {
  app_->add_option("--config", config_path_,
                   "TOML file with values for flags (also WHALE_CONFIG)")
      ->type_name("FILE")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

Options::Flag* Options::NewFlag(const std::string& name, Setter setter) {
  Flag& flag = flags_.emplace_back();
  flag.name = name;
  flag.setter = std::move(setter);
  return &flag;
}

void Options::AddFlag(const std::string& name, bool* value,
                      const std::string& help) {
  Flag* flag = NewFlag(name, Store(value, ParseBool));
  flag->is_flag = true;
  flag->option = app_->add_flag("--" + name, flag->raw_flag, help)
                     ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

void Options::Add(const std::string& name, const std::string& kind,
                  const std::string& default_text, const std::string& help,
                  Setter setter) {
  Flag* flag = NewFlag(name, std::move(setter));
  flag->option = app_->add_option("--" + name, flag->raw, help)
                     ->type_name(kind)
                     ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  if (!default_text.empty()) flag->option->default_str(default_text);
}

void Options::AddString(const std::string& name, std::string* value,
                        const std::string& help) {
  Add(name, "TEXT", *value, help, [value](std::string_view text) {
    *value = text;
    return absl::OkStatus();
  });
}

void Options::AddList(const std::string& name, std::vector<std::string>* value,
                      const std::string& help) {
  Add(name, "A[,B..]", absl::StrJoin(*value, ","), help,
      [value](std::string_view text) {
        *value = ParseList(text);
        return absl::OkStatus();
      });
}

void Options::AddBytes(const std::string& name, uint64_t* value,
                       const std::string& help) {
  Add(name, "SIZE", FormatBytes(*value), help, Store(value, ParseBytes));
}

void Options::AddDuration(const std::string& name, absl::Duration* value,
                          const std::string& help) {
  Add(name, "TIME", absl::FormatDuration(*value), help,
      Store(value, ParseDuration));
}

void Options::AddArgument(const std::string& name, std::string* value,
                          const std::string& help, bool required) {
  app_->add_option(name, *value, help)->required(required)->type_name("");
}

absl::Status Options::ResolveFlag(Flag& flag, const ConfigFile& file,
                                  const Environment& environment) {
  const std::string dashed = "--" + flag.name;
  flag.given = true;
  if (flag.option->count() > 0) {
    const std::string text =
        flag.is_flag ? (flag.raw_flag ? "true" : "false") : flag.raw;
    const absl::Status status = flag.setter(text);
    return status.ok() ? status : Explain(dashed, status);
  }
  const std::string variable = VariableName(flag.name);
  if (const auto text = environment(variable)) {
    const absl::Status status = flag.setter(*text);
    return status.ok() ? status
                       : Explain(absl::StrCat("environment variable ", variable,
                                              " (", dashed, ")"),
                                 status);
  }
  if (const ConfigFile::Entry* entry = file.Find(command_, flag.name)) {
    const absl::Status status = flag.setter(entry->value);
    return status.ok()
               ? status
               : Explain(absl::StrCat(file.Where(*entry), ": ", flag.name),
                         status);
  }
  flag.given = false;
  return absl::OkStatus();
}

absl::Status Options::Resolve(const ConfigFile& file,
                              const Environment& environment) {
  for (Flag& flag : flags_) {
    const absl::Status status = ResolveFlag(flag, file, environment);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

std::string Options::ConfigPath(const Environment& environment) const {
  if (!config_path_.empty()) return config_path_;
  return environment("WHALE_CONFIG").value_or("");
}

bool Options::Given(const std::string& name) const {
  for (const Flag& flag : flags_) {
    if (flag.name == name) return flag.given;
  }
  return false;
}

std::set<std::string> Options::names() const {
  std::set<std::string> names;
  for (const Flag& flag : flags_) names.insert(flag.name);
  return names;
}

std::string Options::VariableName(const std::string& flag) {
  return absl::StrCat(
      "WHALE_", absl::AsciiStrToUpper(absl::StrReplaceAll(flag, {{"-", "_"}})));
}

}  // namespace whale::tools
