// The message ring: order and content over many laps, what is not published,
// what a full ring does, and every kind of damage.
#include "fabric/shm/ring.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "common/prng.h"
#include "gtest/gtest.h"

namespace whale::fabric::shm {
namespace {

constexpr uint64_t kRingBytes = kMinRingBytes;

// Both ends of a ring, each with its own mapping, and a third to meddle with.
struct Ring {
  Ring() {
    const uint64_t bytes = kRingHeaderBytes + kRingBytes;
    const FileDescriptor fd = *CreateSealedMemory("test", bytes);
    sender = RingSender(*Mapping::Map(fd.get(), bytes, true), kRingBytes);
    receiver = RingReceiver(*Mapping::Map(fd.get(), bytes, true), kRingBytes);
    raw = *Mapping::Map(fd.get(), bytes, true);
  }
  RingHeader& header() { return *reinterpret_cast<RingHeader*>(raw.base()); }
  RecordHeader& record(uint64_t position) {
    return *reinterpret_cast<RecordHeader*>(raw.base() + kRingHeaderBytes +
                                            position % kRingBytes);
  }
  bool Send(const std::string& text) {
    std::byte* room = sender.Open(text.size());
    if (room == nullptr) return false;
    std::memcpy(room, text.data(), text.size());
    sender.CommitMessage(text.size());
    sender.Publish(sender.committed());
    return true;
  }

  RingSender sender;
  RingReceiver receiver;
  Mapping raw;
};

using Result = RingReceiver::Result;

TEST(RingTest, KeepsOrderAndContentOverManyLaps) {
  Ring ring;
  Prng prng(3);
  std::vector<std::string> sent;
  size_t received = 0;
  while (received < 3000) {
    for (uint64_t i = prng.Below(8); i > 0; --i) {
      std::string text(prng.Below(prng.Chance(0.2) ? kMaxMessageBytes : 200),
                       static_cast<char>(sent.size()));
      if (prng.Chance(0.3) && ring.sender.HasRoomForImmediates(1)) {
        ring.sender.CommitImmediate(static_cast<uint32_t>(sent.size()), 9);
        ring.sender.Publish(ring.sender.committed());
        sent.push_back("immediate");
      } else if (ring.Send(text)) {
        sent.push_back(std::move(text));
      }
    }
    RingReceiver::Record record;
    for (uint64_t i = prng.Below(8); i > 0; --i) {
      if (ring.receiver.Next(&record) != Result::kRecord) break;
      ASSERT_LT(received, sent.size());
      if (sent[received] == "immediate") {
        ASSERT_EQ(record.type, RecordType::kImmediate);
        ASSERT_EQ(record.immediate, received);
        ASSERT_EQ(record.length_bytes, 9u);
      } else {
        ASSERT_EQ(record.type, RecordType::kMessage);
        ASSERT_EQ(std::string(reinterpret_cast<const char*>(record.data),
                              record.length_bytes),
                  sent[received]);
      }
      ++received;
    }
    if (prng.Chance(0.7)) ring.receiver.Release();
    ASSERT_FALSE(ring.sender.broken());
  }
}

TEST(RingTest, WhatIsNotPublishedIsNotSeen) {
  Ring ring;
  RingReceiver::Record record;
  EXPECT_EQ(ring.receiver.Next(&record), Result::kEmpty);
  std::memset(ring.sender.Open(100), 1, 100);
  EXPECT_EQ(ring.receiver.Next(&record), Result::kEmpty);
  ring.sender.CommitMessage(100);
  EXPECT_EQ(ring.receiver.Next(&record), Result::kEmpty);
  EXPECT_FALSE(ring.receiver.Ready());
  const uint64_t first = ring.sender.committed();
  std::memset(ring.sender.Open(50), 2, 50);
  ring.sender.CommitMessage(50);
  EXPECT_TRUE(ring.sender.Publish(first));
  EXPECT_FALSE(ring.sender.Publish(first));
  EXPECT_TRUE(ring.receiver.Ready());
  ASSERT_EQ(ring.receiver.Next(&record), Result::kRecord);
  EXPECT_EQ(record.length_bytes, 100u);
  EXPECT_EQ(ring.receiver.Next(&record), Result::kEmpty);
}

TEST(RingTest, AFullRingIsRefusedUntilReleased) {
  Ring ring;
  int sent = 0;
  while (ring.Send(std::string(1000, 'x'))) ++sent;
  EXPECT_GE(sent, 31);
  EXPECT_TRUE(ring.sender.TakeBlocked());
  EXPECT_FALSE(ring.sender.TakeBlocked());
  RingReceiver::Record record;
  while (ring.receiver.Next(&record) == Result::kRecord) --sent;
  EXPECT_EQ(sent, 0);
  EXPECT_FALSE(ring.Send("no room before Release"));
  EXPECT_TRUE(ring.receiver.Release()) << "the sender wants to be told";
  EXPECT_FALSE(ring.receiver.TakeWantsRoom());
  EXPECT_TRUE(ring.Send("room"));
}

// Damages `damage` and expects the receiver to notice.
template <typename Damage>
void ExpectBroken(const char* what, Damage damage) {
  SCOPED_TRACE(what);
  Ring ring;
  ASSERT_TRUE(ring.Send(std::string(100, 'a')));
  ASSERT_TRUE(ring.Send(std::string(100, 'b')));
  damage(ring);
  RingReceiver::Record record;
  Result result;
  do {
    result = ring.receiver.Next(&record);
  } while (result == Result::kRecord);
  EXPECT_EQ(result, Result::kBroken);
}

TEST(RingTest, DamageIsNoticed) {
  ExpectBroken("tail far ahead",
               [](Ring& r) { r.header().tail = kRingBytes + 16; });
  ExpectBroken("tail not aligned", [](Ring& r) { r.header().tail += 8; });
  ExpectBroken("tail in the middle of a record",
               [](Ring& r) { r.header().tail -= 16; });
  ExpectBroken("length over the limit", [](Ring& r) {
    r.record(0).length_bytes = kMaxMessageBytes + 1;
  });
  ExpectBroken("length beyond the tail",
               [](Ring& r) { r.record(0).length_bytes = 1000; });
  ExpectBroken("length that overflows",
               [](Ring& r) { r.record(0).length_bytes = 0xfffffff8; });
  ExpectBroken("unknown type",
               [](Ring& r) { r.record(0).type = static_cast<RecordType>(0); });
  ExpectBroken("a skip that does not reach the end",
               [](Ring& r) { r.record(0).type = RecordType::kSkip; });
  ExpectBroken("a skip with nothing behind it", [](Ring& r) {
    r.record(0).type = RecordType::kSkip;
    r.record(0).length_bytes = kRingBytes - sizeof(RecordHeader);
    r.header().tail = kRingBytes;
  });
}

TEST(RingTest, ATailThatGoesBackIsNoticed) {
  Ring ring;
  ASSERT_TRUE(ring.Send("one"));
  RingReceiver::Record record;
  ASSERT_EQ(ring.receiver.Next(&record), Result::kRecord);
  ring.header().tail = 0;
  EXPECT_EQ(ring.receiver.Next(&record), Result::kBroken);
}

TEST(RingTest, ASenderNoticesADamagedHead) {
  for (const uint64_t head : {uint64_t{1} << 40, ~uint64_t{0}}) {
    Ring ring;
    while (ring.Send(std::string(1000, 'x'))) {
    }
    EXPECT_FALSE(ring.sender.broken());
    ring.header().head = head;
    EXPECT_EQ(ring.sender.Open(1000), nullptr);
    EXPECT_TRUE(ring.sender.broken());
  }
}

// Whatever the other end writes, records stay within the ring.
TEST(RingTest, RandomDamageNeverLeadsOutside) {
  Prng prng(11);
  for (int round = 0; round < 3000; ++round) {
    Ring ring;
    for (uint64_t i = prng.Below(20); i > 0; --i) {
      ring.Send(std::string(prng.Below(2000), 'x'));
    }
    auto* words = reinterpret_cast<uint64_t*>(ring.raw.base());
    for (uint64_t i = 1 + prng.Below(10); i > 0; --i) {
      const size_t word =
          prng.Chance(0.5)
              ? prng.Below(16)
              : kRingHeaderBytes / 8 + prng.Below(prng.Chance(0.5) ? 64 : 4096);
      words[word] = prng.Chance(0.5) ? prng.Next() : prng.Below(70'000);
    }
    RingReceiver::Record record;
    // At most one record per 16 bytes.
    uint64_t records = 0;
    while (ring.receiver.Next(&record) == Result::kRecord) {
      ASSERT_LE(++records, kRingBytes / 16);
      if (record.type != RecordType::kMessage) continue;
      ASSERT_LE(record.length_bytes, kMaxMessageBytes);
      volatile std::byte sum{};
      for (uint32_t i = 0; i < record.length_bytes; ++i) {
        sum = sum ^ record.data[i];
      }
    }
    ring.receiver.Release();
    ring.Send("go on");
  }
}

}  // namespace
}  // namespace whale::fabric::shm
