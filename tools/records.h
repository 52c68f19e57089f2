// Keys and values in files: tab-separated text, JSON lines, dpkg status files.
//
//   tsv   key TAB value, one per line; \t \n \r \\ stand for tab, newline,
//         carriage return and backslash; all other bytes for themselves
//   json  {"key": "...", "value": "..."} per line; "key_base64" and
//         "value_base64" for bytes that are no UTF-8
//   dpkg  paragraphs separated by empty lines, each under its package's name
//         (NAME:ARCHITECTURE where the name occurred before); read only
//
// Thread-safety: none.
#ifndef WHALE_TOOLS_RECORDS_H_
#define WHALE_TOOLS_RECORDS_H_

#include <cstdint>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace whale::tools {

struct KeyValue {
  std::string key;
  std::string value;
  bool operator==(const KeyValue&) const = default;
};

enum class RecordFormat : uint8_t { kTsv, kJson, kDpkg };
// Errors: kInvalidArgument.
absl::StatusOr<RecordFormat> ParseRecordFormat(std::string_view name);
// By the name's end: .json and .jsonl are JSON lines, all others tsv.
RecordFormat FormatOfFile(std::string_view path);

class RecordReader {
 public:
  virtual ~RecordReader() = default;
  // The next record; nullopt at the end. Errors: kInvalidArgument, with the
  // number of the line and what is wrong there.
  virtual absl::StatusOr<std::optional<KeyValue>> Next() = 0;
};

// `input` outlives the reader.
std::unique_ptr<RecordReader> NewRecordReader(RecordFormat format,
                                              std::istream* input);

// One line, with its newline. REQUIRES: format is not kDpkg.
std::string FormatRecord(RecordFormat format, std::string_view key,
                         std::string_view value);

// The escapes of tsv. Unescape's errors: kInvalidArgument.
std::string EscapeField(std::string_view bytes);
absl::StatusOr<std::string> UnescapeField(std::string_view text);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_RECORDS_H_
