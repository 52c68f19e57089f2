// whale_sim: runs seeds, one simulated cluster each.
//
// Exit codes: 0 nothing found, 1 a crash, 2 a safety violation, 3 no liveness,
// 4 a run that is not deterministic, 64 wrong arguments. A failing seed prints
// the command that replays it.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <string>

#include "common/planted_bug.h"
#include "common/rare_branch.h"
#include "sim/scenario.h"

namespace {

using whale::sim::Report;
using whale::sim::Result;

constexpr int kCrashed = 1;
constexpr int kNotDeterministic = 4;
constexpr int kWrongArguments = 64;

struct Arguments {
  std::string seeds = "1..100";
  uint64_t seed = 0;
  bool trace = false;
  bool check_determinism = false;
  bool keep_going = false;
  bool list_bugs = false;
  std::string bug;
};

// For the signal handler, which may not allocate.
char replay[256];

void OnCrash(int signal) {
  static const char kText[] = "the process crashed; replay: ";
  (void)!write(STDERR_FILENO, kText, sizeof(kText) - 1);
  (void)!write(STDERR_FILENO, replay, std::char_traits<char>::length(replay));
  (void)!write(STDERR_FILENO, "\n", 1);
  ::signal(signal, SIG_DFL);
  _exit(kCrashed);
}

void NoteReplay(uint64_t seed, const std::string& bug) {
  std::snprintf(replay, sizeof(replay),
                "whale_sim --seed %" PRIu64 "%s%s --trace", seed,
                bug.empty() ? "" : " --bug ", bug.c_str());
}

bool ParseRange(const std::string& text, uint64_t* first, uint64_t* last) {
  char tail = 0;
  return std::sscanf(text.c_str(), "%" SCNu64 "..%" SCNu64 "%c", first, last,
                     &tail) == 2 &&
         *first <= *last;
}

struct Totals {
  uint64_t runs = 0, events = 0, operations = 0, answered = 0;
  int64_t virtual_ns = 0;
  std::array<uint64_t, whale::sim::kFaultKinds> faults{};
  whale::sim::SimConfigStore::Changes changes;
  uint64_t plans = 0;
  uint64_t given_up = 0;
  uint64_t hash = 0;

  void Add(const Report& report) {
    ++runs;
    events += report.events;
    operations += report.operations;
    answered += report.answered;
    virtual_ns += report.virtual_ns;
    for (size_t i = 0; i < faults.size(); ++i) faults[i] += report.faults[i];
    changes.stored += report.changes.stored;
    changes.left_out += report.changes.left_out;
    changes.joined += report.changes.joined;
    changes.moved += report.changes.moved;
    plans += report.plans;
    given_up += report.given_up;
    hash = hash * 31 + report.trace_hash;
  }
  void Print(double seconds) const {
    std::printf("%" PRIu64 " runs, %.1f virtual s in %.1f s, %" PRIu64
                " events, %" PRIu64 " operations (%" PRIu64
                " answered), trace %016" PRIx64 "\nfaults:",
                runs, virtual_ns / 1e9, seconds, events, operations, answered,
                hash);
    for (size_t i = 0; i < faults.size(); ++i) {
      std::printf(" %s %" PRIu64,
                  whale::sim::FaultName(static_cast<whale::sim::Fault>(i)),
                  faults[i]);
    }
    std::printf("\nchanges %" PRIu64 ", servers left out %" PRIu64
                ", taken in %" PRIu64 ", primaries moved %" PRIu64
                ", operators' requests %" PRIu64 ", values given up %" PRIu64
                "\n",
                changes.stored, changes.left_out, changes.joined, changes.moved,
                plans, given_up);
    std::printf("rare:");
    const char* separator = " ";
    whale::RareBranchMark::ForEach(
        [&separator](std::string_view name, uint64_t hits) {
          std::printf("%s%.*s %" PRIu64, separator,
                      static_cast<int>(name.size()), name.data(), hits);
          separator = ", ";
        });
    std::printf("\n");
  }
};

int RunSeed(uint64_t seed, const Arguments& arguments, Totals* totals) {
  NoteReplay(seed, arguments.bug);
  const Report report =
      whale::sim::RunScenario(seed, arguments.trace ? stdout : nullptr);
  totals->Add(report);
  if (arguments.check_determinism) {
    const Report again = whale::sim::RunScenario(seed, nullptr);
    if (again.trace_hash != report.trace_hash) {
      std::printf("seed %" PRIu64 ": not deterministic: trace %016" PRIx64
                  ", then %016" PRIx64 "\n",
                  seed, report.trace_hash, again.trace_hash);
      return kNotDeterministic;
    }
  }
  if (report.result == Result::kOk) return 0;
  std::printf("seed %" PRIu64 ": %s: %s\nreplay: %s\n", seed,
              report.result == Result::kSafety ? "safety" : "liveness",
              report.problem.c_str(), replay);
  return static_cast<int>(report.result);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Runs simulated clusters, one per seed, and checks them.");
  app.add_option("--seeds", arguments.seeds, "Range of seeds, FIRST..LAST");
  app.add_option("--seed", arguments.seed, "This seed only");
  app.add_flag("--trace", arguments.trace, "Print what happens");
  app.add_flag("--check-determinism", arguments.check_determinism,
               "Run each seed twice and compare the traces");
  app.add_flag("--keep-going", arguments.keep_going,
               "Go on after a seed that fails");
  app.add_option("--bug", arguments.bug,
                 "Switch on a planted bug (builds with WHALE_PLANTED_BUGS)");
  app.add_flag("--list-bugs", arguments.list_bugs,
               "Print the names of the planted bugs");
  CLI11_PARSE(app, argc, argv);

  if (arguments.list_bugs) {
    for (const whale::PlantedBugName& bug : whale::kPlantedBugNames) {
      std::printf("%.*s\n", static_cast<int>(bug.name.size()), bug.name.data());
    }
    return 0;
  }

  uint64_t first = arguments.seed, last = arguments.seed;
  if (app.count("--seed") == 0 && !ParseRange(arguments.seeds, &first, &last)) {
    std::fprintf(stderr, "--seeds %s is no range; write FIRST..LAST\n",
                 arguments.seeds.c_str());
    return kWrongArguments;
  }
  if (!arguments.bug.empty()) {
#ifdef WHALE_PLANTED_BUGS
    if (!whale::PlantBug(arguments.bug)) {
      std::fprintf(stderr, "no planted bug is called %s\n",
                   arguments.bug.c_str());
      return kWrongArguments;
    }
#else
    std::fprintf(stderr, "--bug needs a build with -DWHALE_PLANTED_BUGS=ON\n");
    return kWrongArguments;
#endif
  }
  for (int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    ::signal(signal, OnCrash);
  }
  const auto start = std::chrono::steady_clock::now();
  Totals totals;
  int code = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    const int result = RunSeed(seed, arguments, &totals);
    std::fflush(stdout);
    if (result == 0) continue;
    if (code == 0) code = result;
    if (!arguments.keep_going) break;
  }
  totals.Print(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count());
  return code;
}
