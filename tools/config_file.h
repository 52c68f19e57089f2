// The TOML file behind --config: flags, written down.
//
// A key at the top of the file holds for every command that has the flag; a
// key in a table ([serve], [bench.ycsb]) only for that command, and wins there.
// Keys are the flags' names; "_" may stand for "-". A key that no command has
// is an error: a mistyped setting must not be silently without effect.
#ifndef WHALE_TOOLS_CONFIG_FILE_H_
#define WHALE_TOOLS_CONFIG_FILE_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace whale::tools {

// Flags by command; a command's name has its words joined by '.'.
using KnownFlags = std::map<std::string, std::set<std::string>, std::less<>>;

class ConfigFile {
 public:
  struct Entry {
    std::string table;  // "" at the top of the file
    std::string key;    // with '-'
    std::string value;  // as it would stand after the flag; lists with commas
    int line = 0;
  };

  ConfigFile() = default;
  // Errors: kNotFound (no such file), kInvalidArgument (not TOML, or a value
  // that no flag can have), naming file and line.
  static absl::StatusOr<ConfigFile> Load(const std::string& path);
  static absl::StatusOr<ConfigFile> Parse(std::string_view text,
                                          const std::string& name);

  // Errors: kInvalidArgument, names the unknown key and the nearest known one.
  absl::Status CheckKeys(const KnownFlags& known) const;
  // What the file says on a flag of a command; nullptr when nothing.
  const Entry* Find(std::string_view command, std::string_view flag) const;
  // "whale.toml:12", for messages.
  std::string Where(const Entry& entry) const;

 private:
  std::string name_;
  std::vector<Entry> entries_;
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_CONFIG_FILE_H_
