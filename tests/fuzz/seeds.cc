// Writes the seeds of those fuzzers whose input is not text: a file or two for
// each below a directory. `fuzz_seeds DIRECTORY`.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "control/file_store.h"
#include "logstore/metadata_record.h"
#include "metadata_mcast/cells.h"
#include "proto/peer_messages.h"
#include "proto/wire.h"

namespace whale {
namespace {

template <typename T>
std::string Bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}
std::string Byte(uint8_t value) { return Bytes(value); }
// As fuzz::Input::TakeString reads it.
std::string String(std::string_view text) {
  return Bytes(static_cast<uint16_t>(text.size())) + std::string(text);
}

logstore::RecordHeader Put() {
  logstore::RecordHeader header{};
  header.epoch_low = 1;
  header.key_bytes = 3;
  header.value_bytes = 5;
  header.session = 1;
  header.request = 1;
  return header;
}

std::string StateFile() {
  proto::StoredState state;
  state.set_format_version(control::kStoredFormatVersion);
  state.set_revision(1);
  state.set_cluster_uuid("0123456789abcdef");
  state.set_segment_bytes(8 << 20);
  state.set_ring_slots(64);
  state.set_next_session(1000);
  return Byte(0) + control::EncodeStateFile(state);
}

// Two records, one of them a hole, and floors above both.
std::string Log() {
  return Byte(0) + Bytes(Put()) + String("keyvalue") + Byte(2) + Byte(0) +
         Bytes(Put()) + Bytes(uint64_t{7}) + Byte(5) +
         Bytes(uint32_t{4096 + 64}) + Bytes(uint32_t{4096 + 64});
}

// A metadata record, the cell that covers it, and a look at both.
std::string Delivery() {
  metadata_mcast::DeliveryCell cell{};
  cell.delivered = 4096 + 64;
  cell.committed = 4096;
  cell.ring_position = 1;
  cell.sequence = 1;
  logstore::MetadataRecord record{};
  record.header = Put();
  return Byte(1) + Byte(1) + Bytes(uint32_t{0}) + Bytes(record) + Byte(0) +
         Byte(1) + Bytes(cell) + Byte(3);
}

// A change of the superblock's geometry, sealed, in both copies.
std::string Pool() {
  return Byte(3) + Bytes(uint32_t{72}) + String(Bytes(uint64_t{8192}));
}

std::string Request(wire::RequestType type, uint64_t number,
                    std::string_view body) {
  wire::Request request{};
  request.type = static_cast<wire::RequestType>(static_cast<int>(type) - 1);
  request.key_bytes = 1;
  request.session = 1;
  request.request = number;
  return Byte(1) + Bytes(request) + String(body) + Byte(7);
}

std::string Client(uint8_t members) {
  return Byte(members) + Request(wire::RequestType::kOpenSession, 0, "") +
         Request(wire::RequestType::kPut, 1, "kvalue") +
         Request(wire::RequestType::kGet, 0, "k") +
         Request(wire::RequestType::kCompareAndPut, 2, "kother") +
         Request(wire::RequestType::kDelete, 3, "k");
}

std::string Peers(uint8_t members) {
  std::string seed = Byte(members);
  for (uint8_t type = 0; type < 6; ++type) {
    wire::PeerHeader header{};
    header.type = wire::PeerMessageType{type};
    header.epoch = 1;
    seed += Byte(4) + Bytes(header) + String(std::string(104, '\1')) + Byte(7);
  }
  return seed;
}

}  // namespace
}  // namespace whale

int main(int argc, char** argv) {
  using namespace whale;
  if (argc != 2) {
    std::cerr << "usage: fuzz_seeds DIRECTORY\n";
    return 2;
  }
  const std::filesystem::path root(argv[1]);
  const auto write = [&](const char* target, const char* name,
                         const std::string& bytes) {
    std::filesystem::create_directories(root / target);
    std::ofstream(root / target / name, std::ios::binary) << bytes;
  };
  write("state_file", "empty_cluster", StateFile());
  write("log", "put_and_hole", Log());
  write("delivery", "one_record", Delivery());
  write("pool", "other_segments", Pool());
  write("messages", "client_alone", Client(0));
  write("messages", "client_at_primary", Client(2));
  write("messages", "peers_of_backup", Peers(1));
  write("messages", "peers_of_primary", Peers(2));
  return 0;
}
