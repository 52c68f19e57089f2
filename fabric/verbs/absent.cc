// In place of the provider where this was built without libibverbs.
#include "fabric/verbs/device.h"
#include "fabric/verbs/verbs_fabric.h"

namespace whale::fabric {
namespace {

absl::Status BuiltWithout() {
  return absl::UnimplementedError(
      "verbs: this program was built without libibverbs; install "
      "libibverbs-dev and build again");
}

}  // namespace

absl::StatusOr<std::unique_ptr<VerbsFabric>> CreateVerbsFabric(
    const VerbsOptions&, std::unique_ptr<Exchange>) {
  return BuiltWithout();
}

absl::StatusOr<std::string> VerbsHostAddress(const VerbsOptions&) {
  return BuiltWithout();
}

absl::StatusOr<std::vector<verbs::Port>> verbs::ListPorts() {
  return BuiltWithout();
}

}  // namespace whale::fabric
