// The history of one client process, as a file: one line for each invocation
// and each answer, written the moment it happens, so that a client that is
// killed leaves all that it was told.
//
// Values stand in it by their short names (ValueName); what the store holds is
// the name and a filler that follows from it, so that a reader can tell a
// mangled value by itself.
//
// Thread-safety: none.
#ifndef WHALE_TESTS_PROCESS_HISTORY_FILE_H_
#define WHALE_TESTS_PROCESS_HISTORY_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "sim/checkers/history.h"

namespace whale::process_test {

// CLOCK_MONOTONIC: one clock for all processes of the host.
int64_t NowOfHostNs();

// A value of `length_bytes` (at least the name's length and one) that begins
// with `name`.
std::string MakeValue(std::string_view name, size_t length_bytes);
// The name of a value that MakeValue made; empty if it is mangled.
std::string NameOfValue(std::string_view value);

class HistoryWriter {
 public:
  explicit HistoryWriter(const std::string& path);
  ~HistoryWriter();
  HistoryWriter(const HistoryWriter&) = delete;
  HistoryWriter& operator=(const HistoryWriter&) = delete;

  // Returns the operation's number. Fills in the time.
  uint64_t Invoke(checkers::Operation operation);
  void Answer(uint64_t number, checkers::Answer answer, uint64_t version = 0,
              const std::string& value_name = "");
  // A failure; one that no client should ever see is a problem as well.
  void Failed(uint64_t number, const absl::Status& status);
  // Something that the client itself found to be wrong.
  void Problem(const std::string& what);
  // The client did all that it was asked to.
  void Done();

 private:
  void Line(const std::string& line);

  const int fd_;
  uint64_t operations_ = 0;
};

struct HistoryContents {
  std::vector<std::string> problems;
  bool done = false;
  size_t answered = 0;      // of the operations
  size_t acknowledged = 0;  // writes
};
// Adds the operations of one client to `history`.
HistoryContents ReadHistory(const std::string& path, uint32_t client,
                            checkers::History* history);

}  // namespace whale::process_test

#endif  // WHALE_TESTS_PROCESS_HISTORY_FILE_H_
