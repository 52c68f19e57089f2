#include "control/security.h"

#include <array>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace whale::control {
namespace {

constexpr std::array<std::string_view, 4> kRoleNames = {
    "read-only", "read-write", "server", "admin"};
// Short ones can be guessed.
constexpr size_t kMinTokenBytes = 16;

absl::Status CheckFiles(const TlsFiles& tls) {
  if (tls.empty() ||
      (!tls.ca.empty() && !tls.certificate.empty() && !tls.key.empty())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "TLS needs all three of --tls-ca, --tls-cert and --tls-key");
}

absl::Status CheckPlaintext(bool allowed, std::string_view address) {
  if (allowed || IsLoopback(address)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      std::string(address),
      " is not of loopback: give --tls-ca, --tls-cert and --tls-key, or "
      "--allow-plaintext in a network where everybody is trusted"));
}

}  // namespace

std::string_view RoleName(Role role) {
  return kRoleNames[static_cast<size_t>(role)];
}

bool Permits(Role has, Role needed) {
  if (has == Role::kServer && needed == Role::kReadWrite) return false;
  return has >= needed;
}

absl::StatusOr<std::map<std::string, Role>> ParseTokens(std::string_view text) {
  std::map<std::string, Role> tokens;
  int number = 0;
  for (absl::string_view line :
       absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    line = line.substr(0, line.find('#'));
    const std::vector<std::string> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    const auto wrong = [number](const std::string& what) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, " of the tokens: ", what));
    };
    if (words.size() != 2) return wrong("it must be ROLE TOKEN");
    size_t role = 0;
    while (role < kRoleNames.size() && kRoleNames[role] != words[0]) ++role;
    if (role == kRoleNames.size()) {
      return wrong(absl::StrCat(words[0],
                                " is none of read-only, read-write, server "
                                "and admin"));
    }
    if (words[1].size() < kMinTokenBytes) {
      return wrong(absl::StrCat("a token must have at least ", kMinTokenBytes,
                                " characters"));
    }
    tokens[words[1]] = static_cast<Role>(role);
  }
  if (tokens.empty()) {
    return absl::InvalidArgumentError("there is no token in the file");
  }
  return tokens;
}

bool IsLoopback(std::string_view address) {
  const size_t colon = address.rfind(':');
  std::string_view host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[') {
    host = host.substr(1, host.size() - 2);
  }
  return host == "localhost" || host == "::1" || host.substr(0, 4) == "127.";
}

absl::Status CheckSecurity(const ClientSecurity& security,
                           std::string_view address) {
  if (!security.tls.empty()) return CheckFiles(security.tls);
  return CheckPlaintext(security.allow_plaintext, address);
}

absl::Status CheckChannels(const ClientSecurity& security,
                           const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    const absl::Status status = CheckSecurity(security, address);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckSecurity(const ServerSecurity& security,
                           std::string_view address) {
  if (security.tls.empty()) {
    return CheckPlaintext(security.allow_plaintext, address);
  }
  const absl::Status files = CheckFiles(security.tls);
  if (!files.ok()) return files;
  if (!security.tokens_file.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "TLS says who somebody is, not what it may do: give --tokens FILE");
}

}  // namespace whale::control
