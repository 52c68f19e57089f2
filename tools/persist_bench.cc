#include "tools/persist_bench.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status_macros.h"

namespace whale::tools {
namespace {

using fabric::Event;
using fabric::EventKind;
using fabric::Opcode;
using fabric::Outcome;
using fabric::WorkRequest;

// A message: which slot, then perhaps the bytes.
using SlotNumber = uint32_t;
constexpr uint64_t kFirstOfTwo = uint64_t{1} << 32;  // in a cookie
constexpr uint32_t kReadBackBytes = 8;

// Answers that the fabric has no room for at once must not be lost.
bool SendSlot(fabric::Fabric* fabric, fabric::ConnectionId link,
              SlotNumber slot) {
  std::byte* const room = fabric->BeginMessage(link, sizeof(slot));
  if (room == nullptr) return false;
  std::memcpy(room, &slot, sizeof(slot));
  fabric->EndMessage(link, sizeof(slot));
  return true;
}

double PercentileUs(const std::vector<int64_t>& sorted_ns, double part) {
  const auto at =
      static_cast<size_t>(part * static_cast<double>(sorted_ns.size() - 1));
  return static_cast<double>(sorted_ns[at]) / 1000;
}

}  // namespace

std::string_view PersistMethodName(PersistMethod method) {
  switch (method) {
    case PersistMethod::kWrite:
      return "WRITE";
    case PersistMethod::kWriteThenRead:
      return "WRITE, then READ";
    case PersistMethod::kWriteRead:
      return "WRITE+READ";
    case PersistMethod::kWriteImm:
      return "WRITE_WITH_IMM+receiver";
    case PersistMethod::kSend:
      return "SEND+receiver";
    case PersistMethod::kFlush:
      return "WRITE+remote flush";
  }
  return "unknown";
}

absl::Status RunPersistOwner(
    fabric::Fabric* fabric, const fabric::Memory& memory,
    const std::function<void(const std::byte*, size_t)>& persist,
    const std::atomic<bool>& stop) {
  WHALE_ASSIGN_OR_RETURN(
      const fabric::RegionId region,
      fabric->Register(memory, {.remote_read = true, .remote_write = true}));
  const fabric::Grant grant = fabric->MakeGrant(region, 0, kPersistMemoryBytes);
  std::vector<std::pair<fabric::ConnectionId, SlotNumber>> answers;
  std::array<Event, 16> events;
  const auto serve = [&](const Event& event, SlotNumber slot, size_t length) {
    if (slot >= kPersistSlots || length > kPersistSlotBytes) return;
    std::byte* const to = memory.base + size_t{slot} * kPersistSlotBytes;
    if (event.data != nullptr) {
      std::memcpy(to, event.data + sizeof(slot), length);
    }
    persist(to, length);
    answers.emplace_back(event.connection, slot);
  };
  while (!stop.load(std::memory_order_relaxed)) {
    const size_t count = fabric->Poll(events);
    for (const Event& event : std::span(events.data(), count)) {
      if (event.kind == EventKind::kConnectRequest) {
        fabric->Accept(event.connection, std::as_bytes(std::span(&grant, 1)));
      } else if (event.kind == EventKind::kReceivedImm) {
        serve(event, event.immediate, event.length_bytes);
      } else if (event.kind == EventKind::kReceived &&
                 event.length_bytes >= sizeof(SlotNumber)) {
        SlotNumber slot = 0;
        std::memcpy(&slot, event.data, sizeof(slot));
        serve(event, slot, event.length_bytes - sizeof(slot));
      } else if (event.kind == EventKind::kDisconnected) {
        std::erase_if(answers, [&](const auto& answer) {
          return answer.first == event.connection;
        });
      }
    }
    std::erase_if(answers, [&](const auto& answer) {
      return SendSlot(fabric, answer.first, answer.second);
    });
    fabric->FlushMessages();
    if (count == 0 && answers.empty()) {
      fabric->Wait(BootClock().NowNs() + 100'000'000);
    }
  }
  fabric->Deregister(region);
  return absl::OkStatus();
}

absl::StatusOr<PersistWriter> PersistWriter::Connect(
    fabric::Fabric* fabric, const std::string& address,
    const fabric::Memory& source) {
  PersistWriter writer(fabric, source);
  WHALE_RETURN_IF_ERROR(fabric->Register(source, {}).status());
  writer.link_ = fabric->Connect(address, {});
  std::array<Event, 4> events;
  for (;;) {
    const size_t count = fabric->Poll(events);
    for (const Event& event : std::span(events.data(), count)) {
      if (event.kind == EventKind::kConnected &&
          event.length_bytes == sizeof(writer.grant_)) {
        std::memcpy(&writer.grant_, event.data, sizeof(writer.grant_));
        return writer;
      }
      if (event.detail != nullptr) return absl::UnavailableError(event.detail);
    }
    if (count == 0) fabric->Wait(BootClock().NowNs() + 100'000'000);
  }
}

bool PersistWriter::Can(PersistMethod method, uint32_t bytes) {
  return method != PersistMethod::kSend ||
         bytes + sizeof(SlotNumber) <= fabric::kMaxMessageBytes;
}

WorkRequest PersistWriter::Request(Opcode opcode, uint32_t bytes,
                                   uint32_t slot) const {
  const uint64_t at = uint64_t{slot} * kPersistSlotBytes;
  return {.opcode = opcode,
          .signaled = true,
          .immediate = slot,
          .local = source_.base + at,
          .length_bytes = bytes,
          .remote_key = grant_.key,
          .remote_address = grant_.address + at,
          .cookie = slot};
}

absl::Status PersistWriter::Post(std::span<const WorkRequest> requests) {
  return fabric_->Post(link_, requests) == fabric::PostResult::kOk
             ? absl::OkStatus()
             : absl::UnavailableError("the connection takes no more work");
}

absl::Status PersistWriter::SendCopy(uint32_t bytes, SlotNumber slot) {
  std::byte* const room = fabric_->BeginMessage(link_, sizeof(slot) + bytes);
  if (room == nullptr) return absl::ResourceExhaustedError("no room yet");
  std::memcpy(room, &slot, sizeof(slot));
  std::memcpy(room + sizeof(slot),
              source_.base + size_t{slot} * kPersistSlotBytes, bytes);
  fabric_->EndMessage(link_, sizeof(slot) + bytes);
  fabric_->FlushMessages();
  return absl::OkStatus();
}

absl::Status PersistWriter::Begin(PersistMethod method, uint32_t bytes,
                                  uint32_t slot) {
  WorkRequest write = Request(Opcode::kWrite, bytes, slot);
  // The last bytes, brought back to where they came from.
  WorkRequest second =
      Request(Opcode::kRead, std::min(bytes, kReadBackBytes), slot);
  switch (method) {
    case PersistMethod::kWrite:
      return Post(std::span(&write, 1));
    case PersistMethod::kWriteThenRead:
      write.cookie |= kFirstOfTwo;
      return Post(std::span(&write, 1));
    case PersistMethod::kWriteImm:
      write.opcode = Opcode::kWriteWithImm;
      return Post(std::span(&write, 1));
    case PersistMethod::kSend:
      return SendCopy(bytes, slot);
    case PersistMethod::kFlush:
      second.opcode = Opcode::kRemoteFlush;
      second.length_bytes = bytes;
      break;
    case PersistMethod::kWriteRead:
      second.remote_address += bytes - second.length_bytes;
      break;
  }
  write.signaled = false;
  const WorkRequest both[] = {write, second};
  return Post(both);
}

absl::StatusOr<std::vector<int64_t>> PersistWriter::Run(PersistMethod method,
                                                        uint32_t bytes,
                                                        uint32_t count,
                                                        uint32_t window) {
  const bool answered =
      method == PersistMethod::kWriteImm || method == PersistMethod::kSend;
  BootClock clock;
  std::array<int64_t, kPersistSlots> begun{};
  std::vector<int64_t> latencies;
  latencies.reserve(count);
  uint32_t started = 0;
  // Answers may outrun the completions that make room for messages.
  std::vector<uint32_t> waiting;
  const auto start = [&](uint32_t slot) -> absl::Status {
    begun[slot] = clock.NowNs();
    const absl::Status status = Begin(method, bytes, slot);
    if (!absl::IsResourceExhausted(status)) return status;
    waiting.push_back(slot);
    return absl::OkStatus();
  };
  for (; started < std::min(window, count); ++started) {
    WHALE_RETURN_IF_ERROR(start(started));
  }
  std::array<Event, 16> events;
  while (latencies.size() < count) {
    const size_t events_count = fabric_->Poll(events);
    // Soft-RoCE is a thread of the kernel that wants to run, too.
    if (events_count == 0) std::this_thread::yield();
    for (const uint32_t slot : std::exchange(waiting, {})) {
      WHALE_RETURN_IF_ERROR(start(slot));
    }
    for (const Event& event : std::span(events.data(), events_count)) {
      if (event.detail != nullptr) return absl::UnavailableError(event.detail);
      uint32_t slot = kPersistSlots;
      if (event.kind == EventKind::kCompleted) {
        if (event.outcome != Outcome::kOk) continue;  // the end follows
        if ((event.cookie & kFirstOfTwo) != 0) {
          const WorkRequest read =
              Request(Opcode::kRead, std::min(bytes, kReadBackBytes),
                      static_cast<uint32_t>(event.cookie));
          WHALE_RETURN_IF_ERROR(Post(std::span(&read, 1)));
        } else if (!answered) {
          slot = static_cast<uint32_t>(event.cookie);
        }
      } else if (event.kind == EventKind::kReceived && answered &&
                 event.length_bytes == sizeof(slot)) {
        std::memcpy(&slot, event.data, sizeof(slot));
      }
      if (slot >= kPersistSlots) continue;
      latencies.push_back(clock.NowNs() - begun[slot]);
      if (started == count) continue;
      ++started;
      WHALE_RETURN_IF_ERROR(start(slot));
    }
  }
  return latencies;
}

absl::StatusOr<PersistResult> PersistWriter::Measure(PersistMethod method,
                                                     uint32_t bytes,
                                                     uint32_t count) {
  PersistResult result{.method = method, .bytes = bytes};
  WHALE_ASSIGN_OR_RETURN(std::vector<int64_t> latencies,
                         Run(method, bytes, count, 1));
  std::sort(latencies.begin(), latencies.end());
  result.p50_us = PercentileUs(latencies, 0.5);
  result.p99_us = PercentileUs(latencies, 0.99);
  const int64_t begun_ns = BootClock().NowNs();
  WHALE_RETURN_IF_ERROR(Run(method, bytes, count, kPersistSlots).status());
  result.per_second =
      count * 1e9 / static_cast<double>(BootClock().NowNs() - begun_ns);
  return result;
}

}  // namespace whale::tools
