#include "fabric/conformance/suite.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace whale::fabric {
namespace {

// Far beyond what any provider needs: only a test that fails waits for it.
constexpr std::chrono::minutes kPatience(3);
constexpr int kPollsToSeeNothing = 2000;

}  // namespace

std::ostream& operator<<(std::ostream& out, const Provider& provider) {
  return out << provider.name;
}

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::vector<Seen> End::Of(EventKind kind, ConnectionId connection) const {
  std::vector<Seen> result;
  for (const Seen& s : seen) {
    if (s.event.kind == kind && s.event.connection == connection) {
      result.push_back(s);
    }
  }
  return result;
}

size_t End::Count(EventKind kind, ConnectionId connection) const {
  return static_cast<size_t>(
      std::count_if(seen.begin(), seen.end(), [&](const Seen& s) {
        return s.event.kind == kind && s.event.connection == connection;
      }));
}

void FabricConformance::SetUp() {
  fixture_ = GetParam().make();
  ASSERT_NE(fixture_, nullptr);
  for (size_t i = 0; i < ends_.size(); ++i) {
    End& end = ends_[i];
    end.fabric = &fixture_->fabric(i);
    end.memory = fixture_->MakeMemory(i, kMemoryBytes);
    auto region = end.fabric->Register(
        end.memory,
        {.remote_read = true, .remote_write = true, .remote_atomic = true});
    ASSERT_TRUE(region.ok()) << region.status();
    end.region = *region;
    end.grant = end.fabric->MakeGrant(end.region, 0, kMemoryBytes);
  }
}

void FabricConformance::TearDown() {
  ends_ = {};
  fixture_.reset();
}

void FabricConformance::PollOnce(size_t index) {
  End& end = ends_[index];
  std::array<Event, 16> events;
  const size_t count = end.fabric->Poll(events);
  ASSERT_LE(count, events.size());
  for (size_t i = 0; i < count; ++i) {
    Seen seen{.event = events[i], .data = {}};
    if (events[i].data != nullptr) {
      seen.data.assign(reinterpret_cast<const char*>(events[i].data),
                       events[i].length_bytes);
    } else if (events[i].detail != nullptr) {
      seen.data = events[i].detail;
    }
    end.seen.push_back(std::move(seen));
  }
}

bool FabricConformance::PumpUntil(absl::FunctionRef<bool()> done) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!done()) {
    fixture_->Pump();
    if (std::chrono::steady_clock::now() > give_up) return false;
  }
  return true;
}

bool FabricConformance::PollUntil(absl::FunctionRef<bool()> done) {
  return PumpUntil([&] {
    if (done()) return true;
    for (size_t i = 0; i < ends_.size(); ++i) PollOnce(i);
    return false;
  });
}

void FabricConformance::PollMore() {
  for (int i = 0; i < kPollsToSeeNothing; ++i) {
    for (size_t end = 0; end < ends_.size(); ++end) PollOnce(end);
    fixture_->Pump();
  }
}

Link FabricConformance::ConnectEnds(size_t from, size_t to) {
  Link link{.from = from, .to = to, .near = {}, .far = {}};
  End& near = ends_[from];
  End& far = ends_[to];
  const size_t first = far.seen.size();
  link.near = near.fabric->Connect(far.fabric->address(), Bytes("hello"));
  const bool requested = PollUntil([&] {
    for (size_t i = first; i < far.seen.size(); ++i) {
      if (far.seen[i].event.kind == EventKind::kConnectRequest) {
        link.far = far.seen[i].event.connection;
        return true;
      }
    }
    return false;
  });
  EXPECT_TRUE(requested) << "no kConnectRequest";
  if (!requested) return link;
  far.fabric->Accept(link.far, Bytes("welcome"));
  EXPECT_TRUE(PollUntil([&] {
    return near.Count(EventKind::kConnected, link.near) == 1 &&
           far.Count(EventKind::kConnected, link.far) == 1;
  })) << "not connected";
  return link;
}

bool FabricConformance::WaitForCompletion(size_t end, ConnectionId connection,
                                          uint64_t cookie, Seen* seen) {
  size_t next = 0;
  return PollUntil([&] {
    for (; next < ends_[end].seen.size(); ++next) {
      const Seen& s = ends_[end].seen[next];
      if (s.event.kind == EventKind::kCompleted &&
          s.event.connection == connection && s.event.cookie == cookie) {
        if (seen != nullptr) *seen = s;
        return true;
      }
    }
    return false;
  });
}

bool FabricConformance::PostPatiently(size_t end, ConnectionId connection,
                                      std::span<const WorkRequest> requests) {
  PostResult result = PostResult::kQueueFull;
  PollUntil([&] {
    result = ends_[end].fabric->Post(connection, requests);
    return result != PostResult::kQueueFull;
  });
  return result == PostResult::kOk;
}

Outcome FabricConformance::Do(size_t end, ConnectionId connection,
                              WorkRequest request) {
  request.signaled = true;
  EXPECT_TRUE(PostPatiently(end, connection, std::span(&request, 1)));
  Seen seen;
  EXPECT_TRUE(WaitForCompletion(end, connection, request.cookie, &seen));
  EXPECT_EQ(seen.event.opcode, request.opcode);
  return seen.event.outcome;
}

bool FabricConformance::Send(size_t end, ConnectionId connection,
                             std::string_view text) {
  Fabric& fabric = *ends_[end].fabric;
  std::byte* room = nullptr;
  if (!PollUntil([&] {
        room = fabric.BeginMessage(connection, text.size());
        return room != nullptr;
      })) {
    return false;
  }
  std::memcpy(room, text.data(), text.size());
  fabric.EndMessage(connection, text.size());
  return true;
}

WorkRequest FabricConformance::Write(const End& from, uint64_t local_offset,
                                     const End& to, uint64_t remote_offset,
                                     uint32_t length_bytes,
                                     uint64_t cookie) const {
  return {.opcode = Opcode::kWrite,
          .signaled = true,
          .local = from.at(local_offset),
          .length_bytes = length_bytes,
          .remote_key = to.grant.key,
          .remote_address = to.grant.address + remote_offset,
          .cookie = cookie};
}

WorkRequest FabricConformance::Read(const End& from, uint64_t local_offset,
                                    const End& to, uint64_t remote_offset,
                                    uint32_t length_bytes,
                                    uint64_t cookie) const {
  WorkRequest request =
      Write(from, local_offset, to, remote_offset, length_bytes, cookie);
  request.opcode = Opcode::kRead;
  return request;
}

}  // namespace whale::fabric
