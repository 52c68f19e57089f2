#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/config_store.h"
#include "control/etcd_store.h"
#include "control/file_store.h"

namespace whale::control {
namespace {

absl::StatusOr<std::unique_ptr<ConfigStore>> OpenEtcd(
    std::string_view addresses, std::string name, const StoreOptions& options) {
  WHALE_ASSIGN_OR_RETURN(const EtcdAddress address,
                         ParseEtcdAddress(addresses));
  WHALE_ASSIGN_OR_RETURN(std::unique_ptr<EtcdClient> client,
                         EtcdClient::Create(address, options.security));
  return std::make_unique<EtcdStore>(std::move(client), options,
                                     std::move(name));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ConfigStore>> OpenConfigStore(
    std::string_view spec, const StoreOptions& options) {
  constexpr std::string_view kFile = "file:";
  constexpr std::string_view kEtcd = "etcd:";
  if (spec.substr(0, kFile.size()) == kFile) {
    return FileStore::Open(std::string(spec.substr(kFile.size())));
  }
  if (spec.substr(0, kEtcd.size()) == kEtcd) {
    return OpenEtcd(spec.substr(kEtcd.size()), std::string(spec), options);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", std::string(spec),
                   "' is no configuration store; use file:DIR or "
                   "etcd:http://HOST:PORT,..."));
}

}  // namespace whale::control
