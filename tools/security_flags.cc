#include "tools/security_flags.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace whale::tools {
namespace {

void AddTls(Options* options, control::TlsFiles* tls, bool* allow_plaintext) {
  options->AddString("tls-ca", &tls->ca,
                     "certificate (PEM) of who signed the others'");
  options->AddString("tls-cert", &tls->certificate, "own certificate (PEM)");
  options->AddString("tls-key", &tls->key, "its private key (PEM)");
  options->AddFlag("allow-plaintext", allow_plaintext,
                   "no TLS beyond loopback either");
}

}  // namespace

void AddSecurityFlags(Options* options, SecurityFlags* flags) {
  AddTls(options, &flags->tls, &flags->allow_plaintext);
  options->AddString("token-file", &flags->token_file,
                     "file with the token that says what one may do");
}

absl::StatusOr<control::ClientSecurity> ClientSecurityOf(
    const SecurityFlags& flags) {
  control::ClientSecurity security;
  security.tls = flags.tls;
  security.allow_plaintext = flags.allow_plaintext;
  if (flags.token_file.empty()) return security;
  std::ifstream file(flags.token_file);
  if (!(file >> security.token)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--token-file ", flags.token_file,
        " holds no token: ", errno == 0 ? "it is empty" : strerror(errno)));
  }
  return security;
}

void AddServerSecurityFlags(Options* options,
                            control::ServerSecurity* security) {
  AddTls(options, &security->tls, &security->allow_plaintext);
  options->AddString("tokens", &security->tokens_file,
                     "file of tokens, a line each: read-only, read-write, "
                     "server or admin, and the token");
}

}  // namespace whale::tools
