// The `whale` program as a table of commands: splits the command line, resolves
// flags, runs the command, and turns what goes wrong into one line on standard
// error and an exit code.
#ifndef WHALE_TOOLS_PROGRAM_H_
#define WHALE_TOOLS_PROGRAM_H_

#include <deque>
#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "tools/options.h"

namespace whale::tools {

inline constexpr int kExitOk = 0;
inline constexpr int kExitNo = 1;     // not found, or the comparison failed
inline constexpr int kExitError = 2;  // anything else

// "whale: <message>" on standard error; returns kExitError.
int PrintError(const absl::Status& status);
// The same, but kExitNo for the answers kNotFound and kFailedPrecondition.
int PrintOutcome(const absl::Status& status);

struct Command {
  Command(CLI::App* app, const std::string& name)
      : app(app), options(app, name) {}
  CLI::App* app;
  Options options;
  std::function<int()> run;
};

class Program {
 public:
  Program();

  // `words`: "get", "bench ycsb". The reference stays valid.
  Command& Add(const std::string& words, const std::string& summary,
               const std::string& details = "");

  // Says what the commands that begin with `words` have in common.
  void Group(const std::string& words, const std::string& summary) {
    AppOf(words)->description(summary);
  }

  int Main(int argc, const char* const* argv, const Environment& environment);

 private:
  // The app of a command, or of a group of them such as "bench"; made when
  // there is none yet.
  CLI::App* AppOf(const std::string& words);
  absl::Status Resolve(Command& command, const Environment& environment) const;
  // What stands on the command line and should not, and what may be meant.
  std::string Unexpected(const Command* command) const;
  std::string NearestCommand(const std::string& word) const;
  Command* Parsed();

  CLI::App app_;
  std::map<std::string, CLI::App*> apps_;  // by words; owned by app_
  std::deque<Command> commands_;
};

// One per file of this folder.
void RegisterAdmin(Program& program);
void RegisterDeclareLost(Program& program);
void RegisterBenchPersist(Program& program);
void RegisterBenchYcsb(Program& program);
void RegisterCas(Program& program);
void RegisterCoordinator(Program& program);
void RegisterDelete(Program& program);
void RegisterDev(Program& program);
void RegisterDoctor(Program& program);
void RegisterDump(Program& program);
void RegisterGet(Program& program);
void RegisterLoad(Program& program);
void RegisterLog(Program& program);
void RegisterPut(Program& program);
void RegisterServe(Program& program);
void RegisterStatus(Program& program);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_PROGRAM_H_
