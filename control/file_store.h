// A configuration store in a directory of one machine: "file:DIR".
//
// DIR/state holds the whole state behind a header with a checksum, and is
// replaced as a whole: written beside, persisted, renamed, directory
// persisted. DIR/lock is held by an advisory lock as long as the store is
// open; it names the process that leads.
//
// The file, little-endian: magic "WHALECFG", format version (4 B), CRC32C of
// all that follows it (4 B), length of the state (8 B), the state (protobuf
// StoredState). Nothing may follow.
//
// Thread-safety: none. Failure: a damaged file is refused, with what to do; it
// is never reset.
#ifndef WHALE_CONTROL_FILE_STORE_H_
#define WHALE_CONTROL_FILE_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "control/config_store.h"

namespace whale::control {

// The bytes of the file for `state`, and back. Decode errors: kDataLoss:
// damaged; kUnimplemented: another format version.
std::string EncodeStateFile(const proto::StoredState& state);
absl::StatusOr<proto::StoredState> DecodeStateFile(std::string_view bytes);

class FileStore final : public ConfigStore {
 public:
  // Creates `directory` if it is not there. Errors: kFailedPrecondition:
  // another process has it open (named); kUnavailable: the directory cannot be
  // used.
  static absl::StatusOr<std::unique_ptr<FileStore>> Open(std::string directory);
  ~FileStore() override;

  absl::StatusOr<std::optional<proto::StoredState>> Load() override;
  absl::Status CompareAndSwap(uint64_t expected_revision,
                              const proto::StoredState& next) override;
  int64_t LeadershipEndNs() const override { return INT64_MAX; }
  std::string Name() const override { return "file:" + directory_; }

 private:
  FileStore(std::string directory, int lock_fd)
      : directory_(std::move(directory)), lock_fd_(lock_fd) {}
  absl::Status Replace(const std::string& bytes);

  const std::string directory_;
  const int lock_fd_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_FILE_STORE_H_
