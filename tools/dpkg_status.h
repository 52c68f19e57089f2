// Reads a dpkg status file: each paragraph becomes a value under its package's
// name.
//
// Thread-safety: none.
#ifndef WHALE_TOOLS_DPKG_STATUS_H_
#define WHALE_TOOLS_DPKG_STATUS_H_

#include <set>
#include <string>

#include "tools/line_reader.h"
#include "tools/records.h"

namespace whale::tools {

class DpkgStatusReader final : public RecordReader {
 public:
  // `input` outlives the reader.
  explicit DpkgStatusReader(std::istream* input) : lines_(input) {}

  // The value is the paragraph as it stands, its last newline included.
  absl::StatusOr<std::optional<KeyValue>> Next() override;

 private:
  LineReader lines_;
  std::set<std::string> names_;
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_DPKG_STATUS_H_
