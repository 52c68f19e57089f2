// The coordinator's state file: damaged bytes are refused; what is taken is
// the same after it was written again.
//
// The first byte says whether the rest is a whole file or the state in one, so
// that the checksum does not keep everything else out.
#include "absl/strings/string_view.h"
#include "common/check.h"
#include "control/file_store.h"
#include "control/stored_state.h"

namespace whale::control {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t length) {
  if (length == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data + 1),
                              length - 1);
  absl::StatusOr<proto::StoredState> state;
  if (data[0] == 0) {
    state = DecodeStateFile(rest);
  } else {
    proto::StoredState parsed;
    if (!parsed.ParseFromArray(rest.data(), static_cast<int>(rest.size()))) {
      return 0;
    }
    state = DecodeStateFile(EncodeStateFile(parsed));
  }
  if (!state.ok()) {
    WHALE_CHECK(!state.status().message().empty());
    return 0;
  }
  const absl::Status believed = CheckStoredState(*state);
  WHALE_CHECK(believed.ok() || !believed.message().empty());
  if (!believed.ok()) return 0;
  WHALE_CHECK(DecodeStateFile(EncodeStateFile(*state)).ok());
  return 0;
}

}  // namespace whale::control
