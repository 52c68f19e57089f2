#include "sim/sim_memory.h"

#include <cstring>

#include "gtest/gtest.h"

namespace whale::sim {
namespace {

uint64_t Word(SimMemory& memory, size_t index) {
  uint64_t value;
  std::memcpy(&value, memory.base() + index * 8, 8);
  return value;
}

void Store(SimMemory& memory, size_t index, uint64_t value) {
  std::memcpy(memory.base() + index * 8, &value, 8);
}

TEST(SimMemoryTest, PersistedWordsSurviveOthersMay) {
  int lost = 0, kept = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimMemory memory(8192, pmem::Survives::kPower);
    Prng random(seed);
    for (size_t i = 0; i < 1024; ++i) Store(memory, i, i + 1);
    memory.Persist(memory.base(), 4096);
    memory.Crash(true, random);
    memory.Restart();
    for (size_t i = 0; i < 512; ++i) ASSERT_EQ(Word(memory, i), i + 1);
    for (size_t i = 512; i < 1024; ++i) {
      const uint64_t word = Word(memory, i);
      ASSERT_TRUE(word == 0 || word == i + 1);
      ++(word == 0 ? lost : kept);
    }
  }
  EXPECT_GT(lost, 1000);
  EXPECT_GT(kept, 1000);
}

TEST(SimMemoryTest, WriteBackWithoutFenceProvesNothing) {
  bool lost = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimMemory memory(4096, pmem::Survives::kPower);
    Prng random(seed);
    Store(memory, 0, 7);
    memory.WriteBack(memory.base(), 8);
    memory.Crash(true, random);
    memory.Restart();
    lost |= Word(memory, 0) == 0;
  }
  EXPECT_TRUE(lost);
}

TEST(SimMemoryTest, StoreBehindWriteBackIsNotCovered) {
  bool old = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimMemory memory(4096, pmem::Survives::kPower);
    Prng random(seed);
    Store(memory, 0, 1);
    memory.WriteBack(memory.base(), 8);
    Store(memory, 0, 2);
    memory.Fence();
    memory.Crash(true, random);
    memory.Restart();
    EXPECT_NE(Word(memory, 0), 0u);
    old |= Word(memory, 0) == 1;
  }
  EXPECT_TRUE(old);
}

TEST(SimMemoryTest, RemoteFlushMakesDurable) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimMemory memory(4096, pmem::Survives::kPower);
    Prng random(seed);
    Store(memory, 3, 9);
    memory.MakeDurable(memory.base() + 24, 8);
    memory.Crash(true, random);
    memory.Restart();
    EXPECT_EQ(Word(memory, 3), 9u);
  }
}

TEST(SimMemoryTest, ProcessDomainPersistsForFree) {
  SimMemory memory(4096, pmem::Survives::kProcess);
  EXPECT_TRUE(memory.persist_is_free());
  Prng random(1);
  Store(memory, 0, 5);
  memory.Crash(false, random);
  Store(memory, 0, 6);  // too late
  memory.Restart();
  EXPECT_EQ(Word(memory, 0), 5u);
}

}  // namespace
}  // namespace whale::sim
