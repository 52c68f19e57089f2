#include "tests/process/history_file.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <sstream>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/prng.h"
#include "tests/process/processes.h"

namespace whale::process_test {
namespace {

constexpr char kEndOfName = '|';

uint64_t SeedOf(std::string_view name) {
  uint64_t seed = 0;
  for (const char c : name) seed = seed * 131 + static_cast<unsigned char>(c);
  return seed;
}

// The fields of a line; an empty string stands as "-".
std::string Shown(const std::string& text) { return text.empty() ? "-" : text; }
std::string Meant(const std::string& text) { return text == "-" ? "" : text; }

}  // namespace

int64_t NowOfHostNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

std::string MakeValue(std::string_view name, size_t length_bytes) {
  std::string value(name);
  value += kEndOfName;
  WHALE_CHECK(length_bytes >= value.size());
  Prng random(SeedOf(name));
  while (value.size() < length_bytes) {
    value += static_cast<char>(random.Next());
  }
  return value;
}

std::string NameOfValue(std::string_view value) {
  const size_t end = value.find(kEndOfName);
  if (end == std::string_view::npos) return "";
  const std::string_view name = value.substr(0, end);
  return MakeValue(name, value.size()) == value ? std::string(name) : "";
}

HistoryWriter::HistoryWriter(const std::string& path)
    : fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
  WHALE_CHECK_MSG(fd_ >= 0, "opening a history file");
}

HistoryWriter::~HistoryWriter() { close(fd_); }

void HistoryWriter::Line(const std::string& line) {
  const std::string text = line + "\n";
  WHALE_CHECK(write(fd_, text.data(), text.size()) ==
              static_cast<ssize_t>(text.size()));
}

uint64_t HistoryWriter::Invoke(checkers::Operation operation) {
  const uint64_t number = operations_++;
  Line(absl::StrCat("I ", number, " ", static_cast<int>(operation.type), " ",
                    int{operation.weak}, " ", int{operation.final_read}, " ",
                    operation.replica, " ", operation.key, " ",
                    Shown(operation.value), " ", operation.expected_version,
                    " ", NowOfHostNs()));
  return number;
}

void HistoryWriter::Answer(uint64_t number, checkers::Answer answer,
                           uint64_t version, const std::string& value_name) {
  const int64_t now = NowOfHostNs();
  Line(absl::StrCat("A ", number, " ", static_cast<int>(answer), " ", version,
                    " ", Shown(value_name), " ", now));
}

// A failed compare does not tell the key's version here, so it counts as what
// is certain: that nothing happened.
void HistoryWriter::Failed(uint64_t number, const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      Answer(number, checkers::Answer::kNotFound);
      return;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
      Answer(number, checkers::Answer::kRefused);
      return;
    default:
      Problem(status.ToString());
      [[fallthrough]];
    case absl::StatusCode::kDeadlineExceeded:
      Answer(number, checkers::Answer::kUnknown);
  }
}

void HistoryWriter::Problem(const std::string& what) {
  Line(absl::StrCat("X ", what));
}

void HistoryWriter::Done() { Line("D"); }

HistoryContents ReadHistory(const std::string& path, uint32_t client,
                            checkers::History* history) {
  HistoryContents contents;
  std::string text = ReadFile(path);
  text.resize(text.rfind('\n') + 1);  // a last line that was cut short
  std::istringstream lines(text);
  std::unordered_map<uint64_t, size_t> places;
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string kind, value;
    uint64_t number = 0;
    int type = 0;
    fields >> kind;
    if (kind == "I") {
      checkers::Operation operation;
      fields >> number >> type >> operation.weak >> operation.final_read >>
          operation.replica >> operation.key >> value >>
          operation.expected_version >> operation.invoked;
      operation.type = static_cast<checkers::OperationType>(type);
      operation.value = Meant(value);
      operation.client = client;
      places[number] = history->Invoke(operation);
    } else if (kind == "A") {
      uint64_t version = 0;
      int64_t answered = 0;
      fields >> number >> type >> version >> value >> answered;
      checkers::Operation& operation = history->at(places.at(number));
      operation.answer = static_cast<checkers::Answer>(type);
      operation.version = version;
      // Of unknown outcome: it may still take effect after the client has given
      // up.
      const bool unknown = operation.answer == checkers::Answer::kUnknown;
      operation.answered = unknown ? checkers::kNever : answered;
      const bool is_get = operation.type == checkers::OperationType::kGet;
      if (is_get) operation.value = Meant(value);
      ++contents.answered;
      contents.acknowledged +=
          !is_get && operation.answer == checkers::Answer::kOk;
    } else if (kind == "X") {
      contents.problems.push_back(line.substr(2));
    } else if (kind == "D") {
      contents.done = true;
    }
  }
  return contents;
}

}  // namespace whale::process_test
