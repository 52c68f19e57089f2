#include "pmem/pool_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "pmem/allocate.h"
#include "pmem/pmem_domain.h"

namespace whale::pmem {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr uint64_t kBytes = 256 * 1024;

class PoolFileTest : public ::testing::Test {
 protected:
  PoolFileTest() {
    std::string pattern = fs::temp_directory_path() / "whale_pool_XXXXXX";
    directory_ = mkdtemp(pattern.data());
    path_ = directory_ + "/pool";
  }
  ~PoolFileTest() override { fs::remove_all(directory_); }

  std::unique_ptr<PoolFile> CreatePool(const PoolFileOptions& options = {}) {
    auto file = PoolFile::Create(path_, kBytes, DomainKind::kShm, options);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  std::set<std::string> Files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      names.insert(entry.path().filename());
    }
    return names;
  }
  absl::Status OpenStatus(const PoolFileOptions& options = {}) const {
    return PoolFile::Open(path_, options).status();
  }

  std::string directory_;
  std::string path_;
};

TEST_F(PoolFileTest, KeepsBytesFromOneProcessToTheNext) {
  {
    auto file = CreatePool();
    EXPECT_EQ(file->length(), kBytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(file->base()) % kPageBytes, 0);
    std::memset(file->base(), 0x5a, kBytes);
  }
  auto file = PoolFile::Open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->length(), kBytes);
  for (uint64_t i = 0; i < kBytes; ++i) {
    ASSERT_EQ((*file)->base()[i], std::byte{0x5a}) << i;
  }
}

TEST_F(PoolFileTest, DescriptorAndOffsetLeadToTheStore) {
  auto file = CreatePool();
  std::memcpy(file->base(), "here", 4);
  char bytes[4];
  ASSERT_EQ(pread(file->fd(), bytes, 4, file->fd_offset()), 4);
  EXPECT_EQ(std::string(bytes, 4), "here");
}

TEST_F(PoolFileTest, IsAllocatedInFull) {
  auto file = CreatePool();
  struct stat info;
  ASSERT_EQ(fstat(file->fd(), &info), 0);
  EXPECT_GE(uint64_t(info.st_blocks) * 512, PoolFileBytes(kBytes));
}

TEST_F(PoolFileTest, ReportsProgressUpToTheTotal) {
  std::vector<uint64_t> done;
  uint64_t last_total = 0;
  auto file = CreatePool({.progress = [&](uint64_t d, uint64_t total) {
    done.push_back(d);
    last_total = total;
  }});
  ASSERT_GE(done.size(), 2);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), last_total);
}

TEST_F(PoolFileTest, NewFileIsZero) {
  auto file = CreatePool();
  for (uint64_t i = 0; i < kBytes; ++i) {
    ASSERT_EQ(file->base()[i], std::byte{0});
  }
}

TEST_F(PoolFileTest, CreateNeverReplaces) {
  CreatePool();
  const auto again = PoolFile::Create(path_, kBytes, DomainKind::kShm);
  EXPECT_EQ(again.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(again.status().message()), HasSubstr(path_));
}

TEST_F(PoolFileTest, SaysWhatIsMissing) {
  EXPECT_EQ(OpenStatus().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(
      PoolFile::Create(directory_ + "/none/pool", kBytes, DomainKind::kShm)
          .status()
          .code(),
      absl::StatusCode::kNotFound);
  fs::create_directory(path_);
  EXPECT_FALSE(OpenStatus().ok());
}

TEST_F(PoolFileTest, NoRoomNamesPathNeededAndAvailable) {
  const uint64_t bytes = uint64_t{1} << 50;
  const auto status = PoolFile::Create(path_, bytes, DomainKind::kShm).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr(path_));
  EXPECT_THAT(message, HasSubstr(absl::StrCat(PoolFileBytes(bytes))));
  EXPECT_THAT(message, HasSubstr("available"));
  EXPECT_TRUE(Files().empty());
}

TEST_F(PoolFileTest, SecondServerIsToldWhoHasIt) {
  auto file = CreatePool();
  const absl::Status status = OpenStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("in use by process ", getpid())));
  file.reset();
  EXPECT_TRUE(OpenStatus().ok());
}

TEST_F(PoolFileTest, PeersThatHoldTheMemoryDoNotHoldTheLock) {
  auto file = CreatePool();
  FileDescriptor peer(dup(file->fd()));
  void* mapped = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                      peer.get(), file->fd_offset());
  ASSERT_NE(mapped, MAP_FAILED);
  file.reset();
  EXPECT_TRUE(OpenStatus().ok());
  munmap(mapped, kBytes);
}

TEST_F(PoolFileTest, KilledProcessLeavesTheFileUsable) {
  const pid_t child = fork();
  if (child == 0) {
    auto file = PoolFile::Create(path_, kBytes, DomainKind::kShm);
    if (!file.ok()) _exit(1);
    std::memcpy((*file)->base(), "acknowledged", 12);
    kill(getpid(), SIGKILL);
  }
  int how = 0;
  ASSERT_EQ(waitpid(child, &how, 0), child);
  ASSERT_TRUE(WIFSIGNALED(how));
  auto file = PoolFile::Open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(std::memcmp((*file)->base(), "acknowledged", 12), 0);
}

TEST_F(PoolFileTest, UncleanPoolOfAnotherBootIsLost) {
  CreatePool({.boot_id = "monday"});
  const absl::Status status = OpenStatus({.boot_id = "tuesday"});
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("remove the file"));
  EXPECT_TRUE(OpenStatus({.boot_id = "monday"}).ok());
}

TEST_F(PoolFileTest, CleanPoolOfAnotherBootIsThere) {
  {
    auto file = CreatePool({.boot_id = "monday"});
    std::memcpy(file->base(), "kept", 4);
    ASSERT_TRUE(file->CloseClean().ok());
  }
  {
    auto file = PoolFile::Open(path_, {.boot_id = "tuesday"});
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(std::memcmp((*file)->base(), "kept", 4), 0);
  }
  // Opening took the mark away.
  EXPECT_EQ(OpenStatus({.boot_id = "wednesday"}).code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(PoolFileTest, RemovesOnlyItsOwnDeadLeftovers) {
  auto living = CreateTemporary(path_);
  ASSERT_TRUE(living.ok());
  std::string dead;
  {
    auto temporary = CreateTemporary(path_);
    ASSERT_TRUE(temporary.ok());
    dead = temporary->path;
  }
  const std::string foreign = directory_ + "/pool.creating.by-somebody-else";
  std::ofstream(foreign) << "mine";
  const std::string other = directory_ + "/pool2.creating.abcdef";
  std::ofstream(other) << "of another pool";
  CreatePool();
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(living->path));
  EXPECT_TRUE(fs::exists(foreign));
  EXPECT_TRUE(fs::exists(other));
}

TEST_F(PoolFileTest, TruncatedOrExtendedFileIsRefused) {
  CreatePool();
  for (const uint64_t bytes :
       {uint64_t{0}, uint64_t{100}, kPageBytes, PoolFileBytes(kBytes) - 1,
        PoolFileBytes(kBytes) - kPageBytes, PoolFileBytes(kBytes) + 1,
        PoolFileBytes(kBytes) + kPageBytes}) {
    fs::resize_file(path_, bytes);
    EXPECT_EQ(OpenStatus().code(), absl::StatusCode::kDataLoss) << bytes;
    EXPECT_EQ(fs::file_size(path_), bytes);
  }
}

TEST_F(PoolFileTest, EitherHeaderCopyIsEnough) {
  CreatePool();
  const uint64_t end = PoolFileBytes(kBytes);
  for (const int copy : {0, 1}) {
    for (const uint64_t at : {0, 9, 13, 20, 26, 33, 40, 4095}) {
      std::fstream file(path_, std::ios::in | std::ios::out);
      file.seekp(end - (2 - copy) * kPageBytes + at);
      file.put('\xee');
      file.close();
      auto opened = PoolFile::Open(path_);
      ASSERT_TRUE(opened.ok()) << opened.status();
      EXPECT_EQ((*opened)->length(), kBytes);
    }
  }
}

TEST_F(PoolFileTest, BothHeaderCopiesGoneIsAnError) {
  CreatePool();
  const uint64_t end = PoolFileBytes(kBytes);
  std::fstream file(path_, std::ios::in | std::ios::out);
  for (const uint64_t at : {end - 2 * kPageBytes, end - kPageBytes}) {
    file.seekp(at + 30);
    file.put('\xee');
  }
  file.close();
  EXPECT_EQ(OpenStatus().code(), absl::StatusCode::kDataLoss);
}

TEST_F(PoolFileTest, OtherFormatVersionIsRefusedByName) {
  CreatePool();
  FileDescriptor file(open(path_.c_str(), O_RDWR));
  auto header = ReadPoolFileHeader(file.get(), path_);
  ASSERT_TRUE(header.ok());
  // As a later release would write it.
  header->format_version = 2;
  ASSERT_EQ(offsetof(PoolFileHeader, checksum), 12);
  const auto* bytes = reinterpret_cast<const char*>(&*header);
  header->checksum = ExtendCrc32c(ExtendCrc32c(0, bytes, 12), bytes + 16,
                                  sizeof(PoolFileHeader) - 16);
  const uint64_t end = PoolFileBytes(kBytes);
  ASSERT_GT(pwrite(file.get(), &*header, sizeof(*header), end - 2 * kPageBytes),
            0);
  ASSERT_GT(pwrite(file.get(), &*header, sizeof(*header), end - kPageBytes), 0);
  const absl::Status status = OpenStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 2"));
}

TEST_F(PoolFileTest, DomainOfSharedMemory) {
  auto file = CreatePool();
  EXPECT_EQ(file->domain().name(), "shm");
  EXPECT_EQ(SurvivesName(file->domain().survives()), "process");
  EXPECT_TRUE(file->domain().persist_is_free());
}

TEST_F(PoolFileTest, PmemRefusesWhatIsNotDaxUnlessTold) {
  if (getenv("PMEM_IS_PMEM_FORCE") != nullptr) {
    GTEST_SKIP() << "libpmem was told that everything is DAX";
  }
  const auto refused = PoolFile::Create(path_, kBytes, DomainKind::kPmem);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("dax"));
  EXPECT_TRUE(Files().empty());

  const PoolFileOptions allow = {.allow_non_dax = true, .boot_id = "monday"};
  {
    auto file = PoolFile::Create(path_, kBytes, DomainKind::kPmem, allow);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ((*file)->domain().name(), "pmem");
    EXPECT_FALSE((*file)->domain().persist_is_free());
    std::memset((*file)->base() + 100, 7, 10'000);
    (*file)->domain().Persist((*file)->base() + 100, 10'000);
  }
  // Whether its bytes outlive a boot is the domain's affair, not the mark's.
  auto file =
      PoolFile::Open(path_, {.allow_non_dax = true, .boot_id = "tuesday"});
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->base()[10'099], std::byte{7});
}

// Run with PMEM_IS_PMEM_FORCE=1, with which libpmem takes the DAX path.
TEST_F(PoolFileTest, DaxPath) {
  if (getenv("PMEM_IS_PMEM_FORCE") == nullptr) {
    GTEST_SKIP() << "needs DAX memory, or PMEM_IS_PMEM_FORCE=1";
  }
  auto file = PoolFile::Create(path_, kBytes, DomainKind::kPmem);
  ASSERT_TRUE(file.ok()) << file.status();
  // What claims to be DAX and is on no NVDIMM is ordinary memory.
  EXPECT_EQ(SurvivesName((*file)->domain().survives()), "process");
  EXPECT_TRUE(static_cast<PmemDomain&>((*file)->domain()).is_dax());
  std::memset((*file)->base() + 3, 9, 5000);
  (*file)->domain().Persist((*file)->base() + 3, 5000);
  char byte = 0;
  ASSERT_EQ(pread((*file)->fd(), &byte, 1, (*file)->fd_offset() + 5002), 1);
  EXPECT_EQ(byte, 9);
}

TEST(PrefaultTest, ChangesNothing) {
  constexpr uint64_t kMapBytes = 64 * 1024;
  auto* map =
      static_cast<std::byte*>(mmap(nullptr, kMapBytes, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(map, MAP_FAILED);
  std::memset(map, 0xc3, kMapBytes / 2);
  ASSERT_TRUE(Prefault(map, kMapBytes, "memory", nullptr).ok());
  for (uint64_t i = 0; i < kMapBytes; ++i) {
    ASSERT_EQ(map[i], std::byte(i < kMapBytes / 2 ? 0xc3 : 0));
  }
  munmap(map, kMapBytes);
}

}  // namespace
}  // namespace whale::pmem
