#include "tools/dev_security.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "tools/private_directory.h"

namespace whale::tools {
namespace {

constexpr std::array<const char*, 4> kRoles = {"read-only", "read-write",
                                               "server", "admin"};
constexpr const char* kDays = "3650";

// Runs openssl; what it says goes to `log`.
absl::Status RunOpenssl(std::vector<std::string> words,
                        const std::string& log) {
  words.insert(words.begin(), "openssl");
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execvp("openssl", arguments.data());
    _exit(127);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) {
    return absl::UnavailableError(
        absl::StrCat("cannot run openssl: ", strerror(errno)));
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
    return absl::UnavailableError(
        "--tls needs the program openssl: install the package openssl");
  }
  std::ostringstream said;
  said << std::ifstream(log).rdbuf();
  return absl::UnavailableError("openssl failed: " + said.str());
}

absl::StatusOr<std::string> NewToken() {
  std::string bytes(24, '\0');
  if (getrandom(bytes.data(), bytes.size(), 0) !=
      static_cast<ssize_t>(bytes.size())) {
    return absl::UnavailableError("cannot get random bytes");
  }
  return absl::BytesToHexString(bytes);
}

absl::Status WritePrivate(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const bool written = fd >= 0 && write(fd, text.data(), text.size()) ==
                                      static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) close(fd);
  if (written) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cannot write ", path, ": ", strerror(error)));
}

}  // namespace

absl::Status DevSecurity::Make() const {
  WHALE_RETURN_IF_ERROR(MakeDirectory(folder_));
  if (!std::filesystem::exists(Path("cert.pem"))) {
    WHALE_RETURN_IF_ERROR(MakeCertificates());
  }
  if (!std::filesystem::exists(Path("tokens"))) {
    WHALE_RETURN_IF_ERROR(MakeTokens());
  }
  return absl::OkStatus();
}

absl::Status DevSecurity::MakeCertificates() const {
  const std::string log = Path("openssl.log");
  WHALE_RETURN_IF_ERROR(RunOpenssl(
      {"req", "-x509", "-newkey", "ec", "-pkeyopt",
       "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", Path("ca-key.pem"),
       "-out", Path("ca.pem"), "-days", kDays, "-subj", "/CN=whale dev CA"},
      log));
  WHALE_RETURN_IF_ERROR(RunOpenssl(
      {"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
       "-nodes", "-keyout", Path("key.pem"), "-out", Path("request.pem"),
       "-subj", "/CN=whale dev"},
      log));
  WHALE_RETURN_IF_ERROR(WritePrivate(
      Path("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n"));
  // Whole under its name or not there.
  WHALE_RETURN_IF_ERROR(RunOpenssl(
      {"x509", "-req", "-in", Path("request.pem"), "-CA", Path("ca.pem"),
       "-CAkey", Path("ca-key.pem"), "-CAcreateserial", "-days", kDays,
       "-extfile", Path("names"), "-out", Path("cert.pem.new")},
      log));
  std::error_code error;
  std::filesystem::rename(Path("cert.pem.new"), Path("cert.pem"), error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError("cannot rename " + Path("cert.pem.new"));
}

absl::Status DevSecurity::MakeTokens() const {
  std::string all = "# ROLE TOKEN\n";
  for (const std::string role : kRoles) {
    WHALE_ASSIGN_OR_RETURN(const std::string token, NewToken());
    WHALE_RETURN_IF_ERROR(WritePrivate(Path(role + ".token"), token + "\n"));
    absl::StrAppend(&all, role, " ", token, "\n");
  }
  return WritePrivate(Path("tokens"), all);
}

std::vector<std::string> DevSecurity::CoordinatorArguments() const {
  return {"--tls-ca",  Path("ca.pem"),  "--tls-cert", Path("cert.pem"),
          "--tls-key", Path("key.pem"), "--tokens",   Path("tokens")};
}

std::vector<std::string> DevSecurity::ServerArguments() const {
  return {"--tls-ca",  Path("ca.pem"),  "--tls-cert",   Path("cert.pem"),
          "--tls-key", Path("key.pem"), "--token-file", Path("server.token")};
}

std::vector<std::string> DevSecurity::ClientEnvironment(
    const std::string& role) const {
  return {"WHALE_TLS_CA=" + Path("ca.pem"),
          "WHALE_TLS_CERT=" + Path("cert.pem"),
          "WHALE_TLS_KEY=" + Path("key.pem"),
          "WHALE_TOKEN_FILE=" + Path(role + ".token")};
}

}  // namespace whale::tools
