// Who may talk to whom over gRPC: files of certificates, tokens and their roles
// (plain values; credentials.h makes gRPC's of them).
//
// Every endpoint asks for TLS with certificates on both sides and for a token.
// Without TLS it serves, and is talked to, on loopback only, or where plaintext
// is allowed explicitly.
//
// Thread-safety: plain values, pure functions.
#ifndef WHALE_CONTROL_SECURITY_H_
#define WHALE_CONTROL_SECURITY_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace whale::control {

// PEM files; all empty: no TLS.
struct TlsFiles {
  std::string ca;           // that signed the certificates of the others
  std::string certificate;  // own
  std::string key;

  bool empty() const {
    return ca.empty() && certificate.empty() && key.empty();
  }
};

// Of whoever calls.
struct ClientSecurity {
  TlsFiles tls;
  std::string token;
  bool allow_plaintext = false;  // beyond loopback
};

// Of whoever serves.
struct ServerSecurity {
  TlsFiles tls;
  // One "ROLE TOKEN" per line, # begins a comment; empty: everybody may do
  // everything, which is for loopback.
  std::string tokens_file;
  bool allow_plaintext = false;  // beyond loopback
};

// What a token permits; each also what comes before it, but that a server is no
// client and reads only.
enum class Role : uint8_t { kReadOnly, kReadWrite, kServer, kAdmin };
std::string_view RoleName(Role role);
bool Permits(Role has, Role needed);

// The tokens of a file by their text. Errors: kInvalidArgument names the line.
absl::StatusOr<std::map<std::string, Role>> ParseTokens(std::string_view text);

// Whether "host:port" is of this machine's loopback, by its text.
bool IsLoopback(std::string_view address);

// kInvalidArgument: plaintext where it is not allowed, or half of TLS; says
// what to give.
absl::Status CheckSecurity(const ClientSecurity& security,
                           std::string_view address);
// For all of them.
absl::Status CheckChannels(const ClientSecurity& security,
                           const std::vector<std::string>& addresses);
absl::Status CheckSecurity(const ServerSecurity& security,
                           std::string_view address);

}  // namespace whale::control

#endif  // WHALE_CONTROL_SECURITY_H_
