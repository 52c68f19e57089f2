#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "control/config_store.h"
#include "control/file_store.h"

namespace whale::control {

absl::StatusOr<std::unique_ptr<ConfigStore>> OpenConfigStore(
    std::string_view spec) {
  constexpr std::string_view kFile = "file:";
  constexpr std::string_view kEtcd = "etcd:";
  if (spec.substr(0, kFile.size()) == kFile) {
    return FileStore::Open(std::string(spec.substr(kFile.size())));
  }
  if (spec.substr(0, kEtcd.size()) == kEtcd) {
    return absl::UnimplementedError(
        "a configuration store in etcd is not supported yet by this version; "
        "use file:DIR");
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "'", std::string(spec), "' is no configuration store; use file:DIR"));
}

}  // namespace whale::control
