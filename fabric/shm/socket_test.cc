// Listening: what lies at the path, and who may be there already.
#include "fabric/shm/socket.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "fabric/shm/test_support.h"
#include "gtest/gtest.h"

namespace whale::fabric::shm {
namespace {

TEST(ListenerTest, OnlyTheOwnerMayConnect) {
  TemporaryDirectory directory;
  auto listener = Listener::Create(directory / "run/a.sock");
  ASSERT_TRUE(listener.ok()) << listener.status();
  struct stat status;
  ASSERT_EQ(stat((directory / "run/a.sock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(stat((directory / "run").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST(ListenerTest, AnAddressInUseIsSaidSo) {
  TemporaryDirectory directory;
  auto listener = Listener::Create(directory / "a.sock");
  ASSERT_TRUE(listener.ok()) << listener.status();
  auto second = Listener::Create(directory / "a.sock");
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(std::string(second.status().message())
                .find("process " + std::to_string(getpid())),
            std::string::npos)
      << second.status();
  // The first is not disturbed, and a clean end leaves nothing.
  EXPECT_TRUE(Dial(directory / "a.sock").ok());
  listener = absl::UnknownError("");
  EXPECT_TRUE(std::filesystem::is_empty(directory / ""));
}

TEST(ListenerTest, WhatAKilledProcessLeftIsRemoved) {
  TemporaryDirectory directory;
  Child child([&](Child& parent) {
    auto listener = Listener::Create(directory / "a.sock");
    parent.Tell();
    for (;;) pause();
    return 0;
  });
  child.Await();
  child.Kill();
  child.Join();
  EXPECT_EQ(Dial(directory / "a.sock").status().code(),
            absl::StatusCode::kUnavailable);
  auto listener = Listener::Create(directory / "a.sock");
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(Dial(directory / "a.sock").ok());
}

TEST(ListenerTest, AFileInTheWayIsKept) {
  TemporaryDirectory directory;
  std::ofstream(directory / "a.sock") << "precious";
  EXPECT_EQ(Listener::Create(directory / "a.sock").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::filesystem::file_size(directory / "a.sock"), 8u);
}

TEST(ListenerTest, APathTooLongNamesTheLimit) {
  TemporaryDirectory directory;
  const std::string path = directory / std::string(200, 'x');
  for (const absl::Status& status :
       {Listener::Create(path).status(), Dial(path).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(std::string(status.message()).find("107"), std::string::npos)
        << status;
  }
}

TEST(ListenerTest, AMissingDirectoryIsNamed) {
  TemporaryDirectory directory;
  const auto status = Listener::Create(directory / "no/such/a.sock").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(status.message()).find("no/such"), std::string::npos);
}

TEST(DialTest, NobodyThereSaysSo) {
  TemporaryDirectory directory;
  EXPECT_EQ(Dial(directory / "a.sock").status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(ShmOptionsTest, NonsenseIsRefused) {
  EXPECT_EQ(CreateShmFabric({.ring_bytes = 100'000}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateShmFabric({.ring_bytes = 1024}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateShmFabric({.max_connections = 0}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateShmFabric({.send_queue_depth = 0}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateShmFabric({.handshake_us = 0}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SharedMemoryTest, ClientsMayNotRegisterWhatCouldShrink) {
  TemporaryDirectory directory;
  auto client = CreateShmFabric({});
  ASSERT_TRUE(client.ok());
  auto memory = SharedMemory::Create(4096, "test");
  ASSERT_TRUE(memory.ok());
  const std::string path = directory / "file";
  std::FILE* file = std::fopen(path.c_str(), "w+");
  ASSERT_EQ(ftruncate(fileno(file), kGuardBytes + 4096), 0);
  Memory wrong = memory->memory();
  wrong.fd = fileno(file);
  EXPECT_EQ((*client)->Register(wrong, {.remote_read = true}).status().code(),
            absl::StatusCode::kInvalidArgument);
  std::fclose(file);
  wrong = memory->memory();
  wrong.fd_offset = 0;
  EXPECT_EQ((*client)->Register(wrong, {.remote_read = true}).status().code(),
            absl::StatusCode::kInvalidArgument)
      << "it overlaps the guard";
  wrong = memory->memory();
  wrong.length_bytes += 1;
  EXPECT_EQ((*client)->Register(wrong, {.remote_read = true}).status().code(),
            absl::StatusCode::kInvalidArgument)
      << "it is longer than the descriptor";
  EXPECT_TRUE(
      (*client)->Register(memory->memory(), {.remote_read = true}).ok());
}

}  // namespace
}  // namespace whale::fabric::shm
