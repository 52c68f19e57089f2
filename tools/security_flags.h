// The flags that say who somebody is and what it may do: certificates, tokens,
// plaintext.
//
// Thread-safety: as Options.
#ifndef WHALE_TOOLS_SECURITY_FLAGS_H_
#define WHALE_TOOLS_SECURITY_FLAGS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "control/security.h"
#include "tools/options.h"

namespace whale::tools {

struct SecurityFlags {
  control::TlsFiles tls;
  std::string token_file;
  bool allow_plaintext = false;
};

void AddSecurityFlags(Options* options, SecurityFlags* flags);
// kInvalidArgument: the token's file cannot be read.
absl::StatusOr<control::ClientSecurity> ClientSecurityOf(
    const SecurityFlags& flags);

void AddServerSecurityFlags(Options* options,
                            control::ServerSecurity* security);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_SECURITY_FLAGS_H_
