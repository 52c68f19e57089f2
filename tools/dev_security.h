// What `whale dev --tls` makes for its cluster: a certificate authority, one
// certificate for all of its processes and clients, a token for each role. By
// the openssl program, so nothing of it is in this one.
//
// Thread-safety: none.
#ifndef WHALE_TOOLS_DEV_SECURITY_H_
#define WHALE_TOOLS_DEV_SECURITY_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace whale::tools {

class DevSecurity {
 public:
  // Everything lies in `folder`.
  explicit DevSecurity(std::string folder) : folder_(std::move(folder)) {}

  // Makes what is not there yet; private to the user. kUnavailable: openssl is
  // not installed, or says why not.
  absl::Status Make() const;

  std::vector<std::string> CoordinatorArguments() const;
  std::vector<std::string> ServerArguments() const;
  // Environment of clients of a role, "WHALE_TLS_CA=..".
  std::vector<std::string> ClientEnvironment(const std::string& role) const;

 private:
  std::string Path(const std::string& name) const {
    return folder_ + "/" + name;
  }
  absl::Status MakeCertificates() const;
  absl::Status MakeTokens() const;

  const std::string folder_;
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_DEV_SECURITY_H_
