#include "control/credentials.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "control/channel.h"

namespace whale::control {
namespace {

constexpr char kHeader[] = "authorization";
constexpr std::string_view kBearer = "Bearer ";

// Takes as long wherever they differ, so that nobody finds a token letter by
// letter.
bool SameToken(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

absl::StatusOr<std::string> Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (file.good() && !text.str().empty()) return text.str();
  return absl::InvalidArgumentError(absl::StrCat(
      "cannot read ", path, ": ", errno == 0 ? "empty" : strerror(errno)));
}

// What else would only show as a failed handshake, without a reason.
absl::Status CheckCertificate(const std::string& path, const std::string& pem) {
  const std::unique_ptr<BIO, int (*)(BIO*)> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  const std::unique_ptr<X509, void (*)(X509*)> certificate(
      PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(path + " holds no certificate (PEM)");
  }
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the certificate in ", path,
                     " has expired: renew it, signed by the same CA"));
  }
  if (X509_cmp_current_time(X509_get0_notBefore(certificate.get())) > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the certificate in ", path,
                     " is not valid yet: check this machine's clock"));
  }
  return absl::OkStatus();
}

absl::Status CheckPair(const TlsFiles& files, const std::string& certificate,
                       const std::string& key) {
  const std::unique_ptr<BIO, int (*)(BIO*)> certificate_bio(
      BIO_new_mem_buf(certificate.data(), static_cast<int>(certificate.size())),
      BIO_free);
  const std::unique_ptr<BIO, int (*)(BIO*)> key_bio(
      BIO_new_mem_buf(key.data(), static_cast<int>(key.size())), BIO_free);
  const std::unique_ptr<X509, void (*)(X509*)> x509(
      PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr),
      X509_free);
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> pkey(
      PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr),
      EVP_PKEY_free);
  if (pkey == nullptr) {
    return absl::InvalidArgumentError(files.key +
                                      " holds no private key (PEM)");
  }
  if (X509_check_private_key(x509.get(), pkey.get()) == 1) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      files.key, " is not the key of the certificate in ", files.certificate));
}

struct TlsTexts {
  std::string ca, certificate, key;
};

absl::StatusOr<TlsTexts> ReadTls(const TlsFiles& files) {
  TlsTexts texts;
  WHALE_ASSIGN_OR_RETURN(texts.ca, Contents(files.ca));
  WHALE_ASSIGN_OR_RETURN(texts.certificate, Contents(files.certificate));
  WHALE_ASSIGN_OR_RETURN(texts.key, Contents(files.key));
  WHALE_RETURN_IF_ERROR(CheckCertificate(files.ca, texts.ca));
  WHALE_RETURN_IF_ERROR(CheckCertificate(files.certificate, texts.certificate));
  WHALE_RETURN_IF_ERROR(CheckPair(files, texts.certificate, texts.key));
  return texts;
}

// Empty: none.
std::string TokenOf(const grpc::ServerContextBase& context) {
  const auto& metadata = context.client_metadata();
  const auto it = metadata.find(kHeader);
  if (it == metadata.end()) return "";
  const std::string_view value(it->second.data(), it->second.size());
  if (value.substr(0, kBearer.size()) != kBearer) return "";
  return std::string(value.substr(kBearer.size()));
}

}  // namespace

absl::StatusOr<ChannelMaker> ChannelMaker::Create(
    const ClientSecurity& security) {
  ChannelMaker maker;
  maker.security_ = security;
  if (security.tls.empty()) {
    maker.credentials_ = grpc::InsecureChannelCredentials();
    return maker;
  }
  WHALE_RETURN_IF_ERROR(CheckSecurity(security, ""));
  WHALE_ASSIGN_OR_RETURN(TlsTexts texts, ReadTls(security.tls));
  maker.credentials_ =
      grpc::SslCredentials({std::move(texts.ca), std::move(texts.key),
                            std::move(texts.certificate)});
  return maker;
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> ChannelMaker::Open(
    const std::string& address) const {
  WHALE_RETURN_IF_ERROR(CheckSecurity(security_, address));
  return OpenChannel(address, credentials_,
                     security_.tls.empty() ? kConnectMs : kTlsConnectMs);
}

void ChannelMaker::Authorize(grpc::ClientContext* context) const {
  if (security_.token.empty()) return;
  context->AddMetadata(kHeader,
                       absl::StrCat(std::string(kBearer), security_.token));
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentialsOf(
    const TlsFiles& tls) {
  if (tls.empty()) return grpc::InsecureServerCredentials();
  WHALE_ASSIGN_OR_RETURN(TlsTexts texts, ReadTls(tls));
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = std::move(texts.ca);
  options.pem_key_cert_pairs.push_back(
      {std::move(texts.key), std::move(texts.certificate)});
  return grpc::SslServerCredentials(options);
}

bool ShowsToken(const grpc::ServerContextBase& context,
                const std::string& token) {
  return SameToken(TokenOf(context), token);
}

absl::StatusOr<Guard> Guard::Create(const ServerSecurity& security,
                                    const std::string& address) {
  WHALE_RETURN_IF_ERROR(CheckSecurity(security, address));
  Guard guard;
  if (!security.tokens_file.empty()) {
    WHALE_ASSIGN_OR_RETURN(const std::string text,
                           Contents(security.tokens_file));
    WHALE_ASSIGN_OR_RETURN(guard.tokens_, ParseTokens(text));
    guard.open_ = false;
  }
  WHALE_ASSIGN_OR_RETURN(guard.credentials_, ServerCredentialsOf(security.tls));
  return guard;
}

const Role* Guard::Find(std::string_view token) const {
  const Role* found = nullptr;
  for (const auto& [known, role] : tokens_) {
    if (SameToken(known, token)) found = &role;
  }
  return found;
}

grpc::Status Guard::Check(const grpc::ServerContextBase& context,
                          Role needed) const {
  if (open_) return grpc::Status::OK;
  const std::string token = TokenOf(context);
  if (token.empty()) {
    return grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                        "a token is needed: give --token-file");
  }
  const Role* const role = Find(token);
  if (role == nullptr) {
    return grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                        "the token is not known here: check --token-file "
                        "against the coordinator's --tokens");
  }
  if (Permits(*role, needed)) return grpc::Status::OK;
  return grpc::Status(
      grpc::StatusCode::PERMISSION_DENIED,
      absl::StrCat("this needs the role ", std::string(RoleName(needed)),
                   "; the token's is ", std::string(RoleName(*role))));
}

Role Guard::RoleOf(const grpc::ServerContextBase& context) const {
  if (open_) return Role::kAdmin;
  const Role* const role = Find(TokenOf(context));
  return role == nullptr ? Role::kReadOnly : *role;
}

}  // namespace whale::control
