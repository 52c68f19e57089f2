#include "tools/version.h"

#include "absl/strings/str_cat.h"
#include "logstore/pool.h"
#include "proto/wire.h"
#include "tools/commit.h"  // made by commit.cmake

namespace whale::tools {

std::string Commit() { return WHALE_COMMIT; }

std::string Version() {
  return absl::StrCat(WHALE_VERSION, " (commit ", Commit(), ")");
}

std::string VersionText() {
  return absl::StrCat("whale ", WHALE_VERSION, " (protocol ",
                      wire::kProtocolVersion, ", format ",
                      logstore::kFormatVersion, ", commit ", Commit(), ")");
}

}  // namespace whale::tools
