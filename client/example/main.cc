// First steps with the SDK: put, get, compare-and-put, many puts at once.
//
//   whale_example [--cluster HOST:PORT[,HOST:PORT...]]
//
// Prints what it did; exit code 0 when everything came out as it should.
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_split.h"
#include "whale/client.h"

namespace {

int Fail(std::string_view what, const absl::Status& status) {
  std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(what.size()), what.data(),
               status.ToString().c_str());
  return 1;
}

// A counter that several clients may raise at the same time: read it, write it
// back only if nobody else did in between, else read it again.
absl::StatusOr<int> Increment(whale::Client& client, std::string_view key) {
  while (true) {
    const absl::StatusOr<whale::ReadResult> now = client.Get(key);
    if (!now.ok() && !absl::IsNotFound(now.status())) return now.status();
    const int next = now.ok() ? std::stoi(now->value) + 1 : 1;
    const uint64_t version = now.ok() ? now->version : 0;
    const absl::StatusOr<whale::WriteResult> put =
        client.CompareAndPut(key, version, std::to_string(next));
    if (put.ok()) return next;
    if (!absl::IsFailedPrecondition(put.status())) return put.status();
  }
}

// Many operations on their way from one thread.
absl::Status PutMany(whale::Client& client, int count) {
  absl::Status first_error;
  for (int i = 0; i < count; ++i) {
    client.PutAsync("example/many/" + std::to_string(i),
                    "value " + std::to_string(i), {},
                    [&first_error](absl::StatusOr<whale::WriteResult> put) {
                      first_error.Update(put.status());
                    });
  }
  while (client.in_flight() > 0) client.Poll(absl::Milliseconds(100));
  return first_error;
}

int Run(whale::Client& client) {
  const absl::StatusOr<whale::WriteResult> put =
      client.Put("example/greeting", "hello, whale");
  if (!put.ok()) return Fail("put", put.status());
  std::printf("put: version %llu, %d copies\n",
              static_cast<unsigned long long>(put->version), put->copies);

  const absl::StatusOr<whale::ReadResult> got =
      client.Get("example/greeting", {.any_replica = true});
  if (!got.ok()) return Fail("get", got.status());
  std::printf("get: %s\n", got->value.c_str());

  const absl::StatusOr<int> count = Increment(client, "example/counter");
  if (!count.ok()) return Fail("increment", count.status());
  std::printf("counter: %d\n", *count);

  if (absl::Status many = PutMany(client, 1000); !many.ok()) {
    return Fail("put many", many);
  }
  if (absl::Status replicated = client.WaitReplicated(absl::Seconds(5));
      !replicated.ok()) {
    return Fail("wait for replication", replicated);
  }
  std::printf("1000 puts are on every replica\n");

  const std::vector<std::string_view> keys = {"example/many/0",
                                              "example/many/999"};
  const auto several = client.MultiGet(keys);
  if (!several.ok()) return Fail("get several", several.status());
  for (const absl::StatusOr<whale::ReadResult>& one : *several) {
    if (!one.ok()) return Fail("get several", one.status());
    std::printf("get: %s\n", one->value.c_str());
  }
  return got->value == "hello, whale" ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  whale::ClientOptions options;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--cluster" && i + 1 < argc) {
      options.coordinators = absl::StrSplit(argv[++i], ',');
    } else {
      std::fprintf(stderr, "usage: %s [--cluster HOST:PORT[,...]]\n", argv[0]);
      return 2;
    }
  }
  const absl::StatusOr<std::unique_ptr<whale::Client>> client =
      whale::Client::Connect(options);
  if (!client.ok()) return Fail("connect", client.status());
  return Run(**client);
}
