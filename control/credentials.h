// gRPC's credentials for every channel and every server of this program, from
// files. Included by .cc files that use gRPC only.
//
// Thread-safety: ChannelMaker and Guard may be used from any thread.
#ifndef WHALE_CONTROL_CREDENTIALS_H_
#define WHALE_CONTROL_CREDENTIALS_H_

#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "control/security.h"

namespace whale::control {

// Opens channels and puts the token into calls.
class ChannelMaker {
 public:
  // Errors: kInvalidArgument: TLS files that cannot be read, do not fit
  // together or have expired.
  static absl::StatusOr<ChannelMaker> Create(const ClientSecurity& security);

  // Errors: kInvalidArgument: plaintext beyond loopback.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> Open(
      const std::string& address) const;
  void Authorize(grpc::ClientContext* context) const;

 private:
  ClientSecurity security_;
  std::shared_ptr<grpc::ChannelCredentials> credentials_;
};

// Of a server that takes whoever has a certificate; plaintext without files.
// Errors: as ChannelMaker::Create.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentialsOf(
    const TlsFiles& tls);

// Whether the caller has shown this token.
bool ShowsToken(const grpc::ServerContextBase& context,
                const std::string& token);

// Decides who may call a server.
class Guard {
 public:
  // Errors: kInvalidArgument, as above, and a file of tokens that makes no
  // sense; checks `address` too, where the server shall listen.
  static absl::StatusOr<Guard> Create(const ServerSecurity& security,
                                      const std::string& address);

  std::shared_ptr<grpc::ServerCredentials> credentials() const {
    return credentials_;
  }
  // Whether the caller has a token that permits `needed`. UNAUTHENTICATED: no
  // token, or an unknown one; PERMISSION_DENIED: of another role.
  grpc::Status Check(const grpc::ServerContextBase& context, Role needed) const;
  // What the caller may do at most. REQUIRES: Check was ok for some role.
  Role RoleOf(const grpc::ServerContextBase& context) const;

 private:
  // nullptr: nobody's.
  const Role* Find(std::string_view token) const;

  std::shared_ptr<grpc::ServerCredentials> credentials_;
  bool open_ = true;  // everybody may do everything
  std::map<std::string, Role> tokens_;
};

}  // namespace whale::control

#endif  // WHALE_CONTROL_CREDENTIALS_H_
