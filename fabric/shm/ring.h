// The message ring of one direction of a connection, seen from both ends.
//
// The sender writes a record in place, then publishes it by moving `tail`: a
// sender that dies in between leaves nothing that the receiver would look at.
// Neither end believes the other: positions are kept privately, what the other
// end writes is read once and checked against them.
//
// Thread-safety: one thread per end. Ordering: what the sender wrote anywhere
// before Publish is visible to the receiver that takes the record.
#ifndef WHALE_FABRIC_SHM_RING_H_
#define WHALE_FABRIC_SHM_RING_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "fabric/shm/layout.h"
#include "fabric/shm/mapping.h"

namespace whale::fabric::shm {

class RingSender {
 public:
  RingSender() = default;
  RingSender(Mapping memory, uint64_t ring_bytes);

  // Room for one record with up to `payload_bytes`; nullptr: full for now, and
  // the receiver has been asked to say when there is room.
  std::byte* Open(size_t payload_bytes);
  // Ends the record that Open began with its first `payload_bytes`.
  void CommitMessage(size_t payload_bytes);
  // Whether `count` immediates fit. REQUIRES (both): no record is open.
  bool HasRoomForImmediates(size_t count);
  void CommitImmediate(uint32_t immediate, uint32_t length_bytes);
  // How many HasRoomForImmediates would allow, as far as is known.
  uint64_t FreeImmediates() const {
    return (ring_bytes_ - (committed_ - head_)) / sizeof(RecordHeader);
  }

  // End of all records so far; a limit for Publish.
  uint64_t committed() const { return committed_; }
  // Shows the receiver the records before `limit`. False: nothing new.
  bool Publish(uint64_t limit);
  // Tells the receiver to look at its socket.
  void AnnouncePacket();
  // Whether Open or HasRoomForImmediates failed since it was last asked.
  bool TakeBlocked() { return std::exchange(blocked_, false); }
  // The receiver wrote nonsense: the connection must end.
  bool broken() const { return broken_; }

 private:
  RingHeader* header() const;
  bool Fits(uint64_t bytes);
  void ReadHead();
  void WriteRecord(uint64_t position, RecordType type, uint32_t length_bytes,
                   uint32_t immediate);

  Mapping memory_;
  std::byte* data_ = nullptr;
  uint64_t ring_bytes_ = 0;
  uint64_t head_ = 0;  // newest known
  uint64_t open_ = 0;  // position of the open record
  uint64_t committed_ = 0;
  uint64_t published_ = 0;
  bool blocked_ = false;
  bool broken_ = false;
};

class RingReceiver {
 public:
  enum class Result { kRecord, kEmpty, kBroken };
  struct Record {
    RecordType type = RecordType::kMessage;  // never kSkip
    uint32_t length_bytes = 0;
    uint32_t immediate = 0;
    const std::byte* data = nullptr;
  };

  RingReceiver() = default;
  RingReceiver(Mapping memory, uint64_t ring_bytes);

  // The next record; its payload stays until Release.
  Result Next(Record* record);
  // Whether Next would return something. Never wrong about kEmpty for long.
  bool Ready() const;
  // Gives the room of all records taken so far back to the sender. True: the
  // sender waits for it and must be told.
  bool Release();
  // Whether the sender waits for room; clears the mark.
  bool TakeWantsRoom();
  // Number of packets announced.
  uint64_t control() const;

 private:
  RingHeader* header() const;

  Mapping memory_;
  std::byte* data_ = nullptr;
  uint64_t ring_bytes_ = 0;
  uint64_t position_ = 0;  // of the next record
  uint64_t tail_ = 0;      // newest known and checked
  uint64_t released_ = 0;  // what the sender may overwrite ends here
};

}  // namespace whale::fabric::shm

#endif  // WHALE_FABRIC_SHM_RING_H_
