// Configuration files: any text is taken or refused with a message.
#include "common/check.h"
#include "tools/config_file.h"

namespace whale::tools {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t length) {
  const std::string_view text(reinterpret_cast<const char*>(data), length);
  const auto file = ConfigFile::Parse(text, "whale.toml");
  if (!file.ok()) {
    WHALE_CHECK(!file.status().message().empty());
    return 0;
  }
  const KnownFlags known = {{"serve", {"listen", "pool"}},
                            {"bench.ycsb", {"threads"}}};
  const absl::Status keys = file->CheckKeys(known);
  WHALE_CHECK(keys.ok() || !keys.message().empty());
  if (const auto* entry = file->Find("serve", "listen")) file->Where(*entry);
  file->Find("bench.ycsb", "threads");
  return 0;
}

}  // namespace whale::tools
