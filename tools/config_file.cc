#include "tools/config_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "tools/nearest.h"

namespace whale::tools {
namespace {

// The text a flag would be given; nullopt for what no flag can be.
std::optional<std::string> ValueText(const toml::node& node) {
  if (const auto* s = node.as_string()) return s->get();
  if (const auto* i = node.as_integer()) return absl::StrCat(i->get());
  if (const auto* f = node.as_floating_point()) return absl::StrCat(f->get());
  if (const auto* b = node.as_boolean()) return b->get() ? "true" : "false";
  const auto* array = node.as_array();
  if (array == nullptr) return std::nullopt;
  std::vector<std::string> parts;
  for (const toml::node& element : *array) {
    const auto part = element.is_array() ? std::nullopt : ValueText(element);
    if (!part) return std::nullopt;
    parts.push_back(*part);
  }
  return absl::StrJoin(parts, ",");
}

absl::Status Collect(const toml::table& table, const std::string& path,
                     const std::string& file,
                     std::vector<ConfigFile::Entry>* entries) {
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    const int line = static_cast<int>(node.source().begin.line);
    if (const auto* inner = node.as_table()) {
      const std::string inner_path =
          path.empty() ? name : absl::StrCat(path, ".", name);
      const absl::Status status = Collect(*inner, inner_path, file, entries);
      if (!status.ok()) return status;
      continue;
    }
    const auto value = ValueText(node);
    if (!value) {
      return absl::InvalidArgumentError(absl::StrCat(
          file, ":", line, ": the value of \"", name,
          "\" cannot be a flag's value; write a string, a number, a boolean "
          "or a list of them"));
    }
    entries->push_back(
        {path, absl::StrReplaceAll(name, {{"_", "-"}}), *value, line});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ConfigFile> ConfigFile::Load(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file || file.bad()) {
    return absl::NotFoundError(absl::StrCat("cannot read the configuration ",
                                            path, ": ", std::strerror(errno)));
  }
  return Parse(text.str(), path);
}

absl::StatusOr<ConfigFile> ConfigFile::Parse(std::string_view text,
                                             const std::string& name) {
  const toml::parse_result result = toml::parse(text);
  if (!result) {
    const toml::parse_error& error = result.error();
    return absl::InvalidArgumentError(
        absl::StrCat(name, ":", error.source().begin.line,
                     ": not TOML: ", std::string(error.description())));
  }
  ConfigFile config;
  config.name_ = name;
  const absl::Status status =
      Collect(result.table(), "", name, &config.entries_);
  if (!status.ok()) return status;
  return config;
}

absl::Status ConfigFile::CheckKeys(const KnownFlags& known) const {
  std::set<std::string> tables, all;
  for (const auto& [command, flags] : known) {
    tables.insert(command);
    all.insert(flags.begin(), flags.end());
  }
  for (const Entry& entry : entries_) {
    const auto table = known.find(entry.table);
    if (!entry.table.empty() && table == known.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          Where(entry), ": there is no command for the table [", entry.table,
          "]; the nearest is [", Nearest(entry.table, tables), "]"));
    }
    const std::set<std::string>& flags =
        entry.table.empty() ? all : table->second;
    if (flags.contains(entry.key)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        Where(entry), ": unknown key \"", entry.key, "\"",
        entry.table.empty() ? "" : absl::StrCat(" in [", entry.table, "]"),
        "; the nearest known one is \"", Nearest(entry.key, flags), "\""));
  }
  return absl::OkStatus();
}

const ConfigFile::Entry* ConfigFile::Find(std::string_view command,
                                          std::string_view flag) const {
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (entry.key != flag) continue;
    if (entry.table == command) return &entry;
    if (entry.table.empty()) found = &entry;
  }
  return found;
}

std::string ConfigFile::Where(const Entry& entry) const {
  return absl::StrCat(name_, ":", entry.line);
}

}  // namespace whale::tools
