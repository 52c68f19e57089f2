// Checks what clients were told, over losses of power in between.
//
//   process_test_check_histories FILE... [--boot FILE...]...
//
// FILEs are histories of client processes (history_file.h). Each --boot begins
// those of the machine's next boot, whose clock starts anew. Exit code 1 and
// the reason if they are not linearizable, an operation took effect twice, or
// something acknowledged is lost.

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "sim/checkers/durability.h"
#include "sim/checkers/exactly_once.h"
#include "sim/checkers/linearizability.h"
#include "tests/process/history_file.h"

namespace whale::process_test {
namespace {

struct Totals {
  size_t answered = 0;
  size_t acknowledged = 0;
  bool problem = false;
};

// Adds one boot's histories, all later than what is there already.
void AddBoot(const std::vector<std::string>& files, uint32_t* client,
             checkers::History* history, Totals* totals) {
  int64_t latest = 0;
  for (const checkers::Operation& operation : history->operations()) {
    latest = std::max(latest, operation.invoked);
    if (operation.answered != checkers::kNever) {
      latest = std::max(latest, operation.answered);
    }
  }
  const size_t before = history->operations().size();
  for (const std::string& file : files) {
    const HistoryContents contents = ReadHistory(file, ++*client, history);
    totals->answered += contents.answered;
    totals->acknowledged += contents.acknowledged;
    for (const std::string& problem : contents.problems) {
      std::printf("%s: %s\n", file.c_str(), problem.c_str());
      totals->problem = true;
    }
  }
  for (size_t i = before; i < history->operations().size(); ++i) {
    checkers::Operation& operation = history->at(i);
    operation.invoked += latest + 1;
    if (operation.answered != checkers::kNever) {
      operation.answered += latest + 1;
    }
  }
}

int Main(int argc, char** argv) {
  std::vector<std::vector<std::string>> boots(1);
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--boot") {
      boots.emplace_back();
    } else {
      boots.back().push_back(argv[i]);
    }
  }
  checkers::History history;
  Totals totals;
  uint32_t client = 0;
  for (const auto& files : boots) AddBoot(files, &client, &history, &totals);
  for (const checkers::Verdict& verdict :
       {checkers::CheckLinearizability(history),
        checkers::CheckExactlyOnce(history),
        checkers::CheckDurability(history)}) {
    if (verdict.ok()) continue;
    std::printf("%s\n", verdict.problem.c_str());
    totals.problem = true;
  }
  std::printf(
      "%zu operations of %u clients in %zu boots, %zu answered, %zu "
      "writes acknowledged\n",
      history.operations().size(), client, boots.size(), totals.answered,
      totals.acknowledged);
  // A history in which nothing succeeded proves nothing.
  return totals.problem || totals.acknowledged == 0 ? 1 : 0;
}

}  // namespace
}  // namespace whale::process_test

int main(int argc, char** argv) {
  return whale::process_test::Main(argc, argv);
}
