// The flags of one command and the four places their values come from.
//
// Command line before environment (WHALE_POOL_BYTES for --pool-bytes) before
// file (--config) before default. CLI11 splits the command line and prints the
// help; reading values, and the order of places, is done here, so that every
// error names the place and the cure.
//
// Ownership: what the flags write to outlives the Options.
#ifndef WHALE_TOOLS_OPTIONS_H_
#define WHALE_TOOLS_OPTIONS_H_

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tools/config_file.h"
#include "tools/value_parse.h"

namespace whale::tools {

// The value of an environment variable, or nullopt.
using Environment =
    std::function<std::optional<std::string>(const std::string& name)>;
Environment ProcessEnvironment();

class Options {
 public:
  // Reads one value; errors need not name the flag.
  using Setter = std::function<absl::Status(std::string_view text)>;

  // `command`: its words joined by '.', as the tables of the file.
  Options(CLI::App* app, std::string command);

  // Names are without "--". The default is what the variable holds now.
  void AddFlag(const std::string& name, bool* value, const std::string& help);
  void AddString(const std::string& name, std::string* value,
                 const std::string& help);
  void AddList(const std::string& name, std::vector<std::string>* value,
               const std::string& help);
  void AddBytes(const std::string& name, uint64_t* value,
                const std::string& help);
  void AddDuration(const std::string& name, absl::Duration* value,
                   const std::string& help);
  template <typename T>
  void AddCount(const std::string& name, T* value, const std::string& help,
                uint64_t min = 0, uint64_t max = std::numeric_limits<T>::max());
  // Anything else. `kind` and `default_text` are for the help.
  void Add(const std::string& name, const std::string& kind,
           const std::string& default_text, const std::string& help,
           Setter setter);

  // An argument without a name; only on the command line.
  void AddArgument(const std::string& name, std::string* value,
                   const std::string& help, bool required = true);

  // Gives every flag its value. Errors: kInvalidArgument naming flag, variable
  // or line of the file.
  absl::Status Resolve(const ConfigFile& file, const Environment& environment);
  // The file asked for on the command line or by WHALE_CONFIG; empty: none.
  std::string ConfigPath(const Environment& environment) const;
  // Whether a value came from any of the three places.
  bool Given(const std::string& name) const;

  const std::string& command() const { return command_; }
  std::set<std::string> names() const;

  // "pool-bytes" -> "WHALE_POOL_BYTES".
  static std::string VariableName(const std::string& flag);

 private:
  struct Flag {
    std::string name;
    CLI::Option* option = nullptr;
    std::string raw;  // from the command line
    bool raw_flag = false;
    bool is_flag = false;
    bool given = false;
    Setter setter;
  };
  Flag* NewFlag(const std::string& name, Setter setter);
  absl::Status ResolveFlag(Flag& flag, const ConfigFile& file,
                           const Environment& environment);

  CLI::App* app_;
  std::string command_;
  std::deque<Flag> flags_;  // CLI11 keeps pointers into it
  std::string config_path_;
};

template <typename T>
void Options::AddCount(const std::string& name, T* value,
                       const std::string& help, uint64_t min, uint64_t max) {
  Add(name, "N", std::to_string(*value), help,
      [value, min, max](std::string_view text) {
        const absl::StatusOr<uint64_t> count = ParseCount(text, min, max);
        if (!count.ok()) return count.status();
        *value = static_cast<T>(*count);
        return absl::OkStatus();
      });
}

}  // namespace whale::tools

#endif  // WHALE_TOOLS_OPTIONS_H_
