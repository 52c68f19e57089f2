#include "control/security.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::HasSubstr;

TEST(Tokens, OneRolePerLine) {
  const auto tokens = ParseTokens(
      "# of this cluster\nadmin 0123456789abcdef\n\n"
      "read-only  fedcba9876543210 # dashboards\n");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->at("0123456789abcdef"), Role::kAdmin);
  EXPECT_EQ(tokens->at("fedcba9876543210"), Role::kReadOnly);
}

TEST(Tokens, NonsenseNamesItsLine) {
  const auto wrong = [](std::string_view text) {
    return std::string(ParseTokens(text).status().message());
  };
  EXPECT_THAT(wrong("admin 0123456789abcdef\nroot 0123456789abcdef"),
              HasSubstr("line 2 of the tokens: root is none of"));
  EXPECT_THAT(wrong("admin"), HasSubstr("must be ROLE TOKEN"));
  EXPECT_THAT(wrong("admin short"), HasSubstr("at least 16"));
  EXPECT_THAT(wrong("# nothing\n"), HasSubstr("no token"));
}

TEST(Roles, PermitWhatTheyAreFor) {
  EXPECT_TRUE(Permits(Role::kAdmin, Role::kServer));
  EXPECT_TRUE(Permits(Role::kReadWrite, Role::kReadOnly));
  EXPECT_TRUE(Permits(Role::kServer, Role::kReadOnly));
  EXPECT_FALSE(Permits(Role::kReadOnly, Role::kReadWrite));
  EXPECT_FALSE(Permits(Role::kReadWrite, Role::kServer));
  EXPECT_FALSE(Permits(Role::kServer, Role::kReadWrite));
  EXPECT_FALSE(Permits(Role::kServer, Role::kAdmin));
}

TEST(Plaintext, IsForLoopbackUnlessAllowed) {
  ClientSecurity client;
  for (const char* address :
       {"127.0.0.1:7400", "localhost:1", "[::1]:7400", "127.9.9.9:1"}) {
    EXPECT_TRUE(CheckSecurity(client, address).ok()) << address;
  }
  for (const char* address :
       {"10.0.0.1:7400", "0.0.0.0:7400", "[::]:7400", "whale.example:1"}) {
    EXPECT_THAT(std::string(CheckSecurity(client, address).message()),
                HasSubstr("--allow-plaintext"))
        << address;
    EXPECT_FALSE(CheckSecurity(ServerSecurity(), address).ok());
  }
  client.allow_plaintext = true;
  EXPECT_TRUE(CheckSecurity(client, "10.0.0.1:7400").ok());
}

TEST(Tls, NeedsAllItsFilesAndTokens) {
  ClientSecurity client;
  client.tls.ca = "ca.pem";
  EXPECT_THAT(std::string(CheckSecurity(client, "10.0.0.1:1").message()),
              HasSubstr("all three"));
  ServerSecurity server;
  server.tls = {"ca.pem", "cert.pem", "key.pem"};
  EXPECT_THAT(std::string(CheckSecurity(server, "10.0.0.1:1").message()),
              HasSubstr("--tokens"));
  server.tokens_file = "tokens";
  EXPECT_TRUE(CheckSecurity(server, "10.0.0.1:1").ok());
}

}  // namespace
}  // namespace whale::control
