#include "tools/program.h"

#include <cstdio>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tools/nearest.h"
#include "tools/version.h"

namespace whale::tools {
namespace {

constexpr const char* kFooter =
    "Every flag is also a key of the TOML file given by --config (at its top, "
    "or in\na table named after the command, as in [bench.ycsb]) and an "
    "environment variable\n(WHALE_POOL_BYTES for --pool-bytes). The command "
    "line wins over the environment,\nthat over the file.\n"
    "Exit codes: 0 done, 1 not found or comparison failed, 2 error.";

}  // namespace

int PrintError(const absl::Status& status) {
  std::fprintf(stderr, "whale: %s\n", std::string(status.message()).c_str());
  return kExitError;
}

int PrintOutcome(const absl::Status& status) {
  const int code = PrintError(status);
  const bool answer =
      absl::IsNotFound(status) || absl::IsFailedPrecondition(status);
  return answer ? kExitNo : code;
}

Program::Program()
    : app_("Chain-replicated key-value store on remote and persistent memory",
           "whale") {
  app_.set_version_flag("--version", VersionText());
  app_.require_subcommand(1);
  app_.footer(kFooter);
}

CLI::App* Program::AppOf(const std::string& words) {
  if (words.empty()) return &app_;
  CLI::App*& app = apps_[words];
  if (app == nullptr) {
    const size_t blank = words.rfind(' ');
    const bool nested = blank != std::string_view::npos;
    CLI::App* outer = AppOf(nested ? words.substr(0, blank) : "");
    if (nested) outer->require_subcommand(1);
    app = outer->add_subcommand(nested ? words.substr(blank + 1) : words);
    app->footer(kFooter);
  }
  return app;
}

Command& Program::Add(const std::string& words, const std::string& summary,
                      const std::string& details) {
  CLI::App* app = AppOf(words);
  app->description(summary);
  if (!details.empty()) app->footer(absl::StrCat(details, "\n\n", kFooter));
  return commands_.emplace_back(app, absl::StrReplaceAll(words, {{" ", "."}}));
}

Command* Program::Parsed() {
  for (Command& command : commands_) {
    if (command.app->parsed()) return &command;
  }
  return nullptr;
}

absl::Status Program::Resolve(Command& command,
                              const Environment& environment) const {
  const std::string path = command.options.ConfigPath(environment);
  ConfigFile file;
  if (!path.empty()) {
    absl::StatusOr<ConfigFile> loaded = ConfigFile::Load(path);
    if (!loaded.ok()) return loaded.status();
    file = *std::move(loaded);
    KnownFlags known;
    for (const Command& c : commands_) {
      known[c.options.command()] = c.options.names();
    }
    const absl::Status status = file.CheckKeys(known);
    if (!status.ok()) return status;
  }
  return command.options.Resolve(file, environment);
}

std::string Program::NearestCommand(const std::string& word) const {
  std::set<std::string> last_words;
  std::map<std::string, std::string> whole;
  for (const auto& [words, app] : apps_) {
    const std::string last = words.substr(words.rfind(' ') + 1);
    last_words.insert(last);
    whole[last] = words;
  }
  return whole[Nearest(word, last_words)];
}

std::string Program::Unexpected(const Command* command) const {
  for (const std::string& word : app_.remaining(/*recurse=*/true)) {
    if (word == "--") continue;
    if (!absl::StartsWith(word, "-")) {
      if (command != nullptr) return absl::StrCat("too many arguments: ", word);
      return absl::StrCat("there is no command \"", word,
                          "\"; the nearest is \"", NearestCommand(word), "\"");
    }
    if (command == nullptr || !absl::StartsWith(word, "--")) continue;
    const std::string flag = word.substr(2, word.find('=') - 2);
    return absl::StrCat("there is no flag --", flag, "; the nearest is --",
                        Nearest(flag, command->options.names()));
  }
  return "";
}

int Program::Main(int argc, const char* const* argv,
                  const Environment& environment) {
  try {
    app_.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app_.exit(error);  // help, version
    const Command* command = Parsed();
    std::string text = Unexpected(command);
    if (text.empty()) text = error.what();
    const std::string name =
        command == nullptr
            ? ""
            : absl::StrReplaceAll(command->options.command(), {{".", " "}}) +
                  " ";
    std::fprintf(stderr, "whale: %s; see whale %s--help\n", text.c_str(),
                 name.c_str());
    return kExitError;
  }
  Command* command = Parsed();
  const absl::Status status = Resolve(*command, environment);
  return status.ok() ? command->run() : PrintError(status);
}

}  // namespace whale::tools
