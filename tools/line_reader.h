// Lines of a stream, counted and bounded: a file without newlines must not
// take all memory.
#ifndef WHALE_TOOLS_LINE_READER_H_
#define WHALE_TOOLS_LINE_READER_H_

#include <cstdint>
#include <istream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/units.h"

namespace whale::tools {

class LineReader {
 public:
  // Every byte of the largest key and value, escaped, and room beside.
  static constexpr size_t kMaxLineBytes = 32 * kMiB;

  explicit LineReader(std::istream* input) : input_(*input) {}

  // The next line, without its newline; false at the end.
  // Errors: kInvalidArgument (too long).
  absl::StatusOr<bool> Next(std::string* line) {
    line->clear();
    std::streambuf* buffer = input_.rdbuf();
    ++number_;
    for (int c = buffer->sbumpc(); c != EOF; c = buffer->sbumpc()) {
      if (c == '\n') return true;
      if (line->size() >= kMaxLineBytes) {
        return absl::InvalidArgumentError(
            absl::StrCat("line ", number_, " is longer than ", kMaxLineBytes,
                         " bytes; is this the right format?"));
      }
      line->push_back(static_cast<char>(c));
    }
    return !line->empty();
  }

  // Of the line that Next gave last; the first is 1.
  uint64_t number() const { return number_; }

 private:
  std::istream& input_;
  uint64_t number_ = 0;
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_LINE_READER_H_
