// A server's memory as it is (what processors see) and as it would be found
// after the loss of power.
//
// In domain `power` a word is durable once a WriteBack that covered it was
// fenced, or a remote flush covered it; a power failure leaves of everything
// else an arbitrary subset of the aligned 8-byte words that differ. In domain
// `process` nothing but the process can be lost, so memory stays as it is.
//
// Thread-safety: none. Ownership: outlives the servers that use it, one after
// another.
#ifndef WHALE_SIM_SIM_MEMORY_H_
#define WHALE_SIM_SIM_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "common/prng.h"
#include "pmem/domain.h"

namespace whale::sim {

class SimMemory final : public pmem::PersistenceDomain {
 public:
  // `length_bytes`: a multiple of 4096. All zeros at first, durably.
  SimMemory(size_t length_bytes, pmem::Survives survives);

  std::byte* base() { return live_; }
  size_t length_bytes() const { return length_bytes_; }
  bool Contains(const void* address) const {
    return address >= live_ && address < live_ + length_bytes_;
  }

  std::string_view name() const override { return "sim"; }
  pmem::Survives survives() const override { return survives_; }
  bool persist_is_free() const override {
    return survives_ == pmem::Survives::kProcess;
  }
  // Takes what the words hold now; a store between WriteBack and Fence is not
  // covered. Ranges outside this memory (DRAM) are ignored.
  void WriteBack(const void* data, size_t length_bytes) override;
  void Fence() override;

  // Called before every WriteBack and Fence: where a crash makes a difference.
  void set_crash_point(std::function<void()> crash_point) {
    crash_point_ = std::move(crash_point);
  }

  // What a remote flush does: durable at once.
  void MakeDurable(const void* data, size_t length_bytes);

  // The machine loses power here and now (`power`), or only the process dies:
  // decides what of the memory stays. With power lost that is, of each word,
  // its durable or its newest value; else everything. Whatever is stored or
  // persisted between Crash and Restart is without effect, so that a turn under
  // way, and destructors, may run to their end.
  // REQUIRES: survives() is kPower if `power`; not crashed already.
  void Crash(bool power, Prng& random);
  void Restart();
  // Other memory takes the place of this: zeros, durably. REQUIRES: nobody uses
  // it.
  void Blank();
  // Flips one bit in [begin, end) of the live and the durable image.
  void Rot(size_t begin, size_t end, Prng& random);

 private:
  struct Pending {
    size_t offset;
    size_t length;
    size_t data;  // in pending_bytes_
  };
  void LosePower(Prng& random);
  // The aligned words that cover a range; false if it lies elsewhere.
  bool Cover(const void* data, size_t length_bytes, size_t* begin,
             size_t* end) const;

  const size_t length_bytes_;
  const pmem::Survives survives_;
  std::unique_ptr<std::byte[]> memory_;
  std::byte* live_;
  std::vector<std::byte> durable_;  // empty in domain `process`
  std::vector<std::byte> kept_;     // what Restart will find; empty: no crash
  std::vector<Pending> pending_;
  std::vector<std::byte> pending_bytes_;
  std::function<void()> crash_point_;
};

}  // namespace whale::sim

#endif  // WHALE_SIM_SIM_MEMORY_H_
