#include "metadata_mcast/pending_table.h"

#include <bit>
#include <utility>

namespace whale::metadata_mcast {

PendingTable::PendingTable(size_t initial_capacity)
    : least_capacity_(
          std::bit_ceil(initial_capacity < 2 ? 2 : initial_capacity)),
      mask_(least_capacity_ - 1),
      entries_(mask_ + 1),
      heads_(mask_ + 1) {}

void PendingTable::PopFront() {
  WHALE_DCHECK(!empty());
  ++first_;
  // From the first slot again: the same few stay in the cache.
  if (empty()) first_ = next_ = (next_ + mask_) & ~mask_;
}

// Puts a record at the head of its bucket's list. Records without a key are in
// none: no read asks for them.
void PendingTable::Link(uint64_t number) {
  Entry& entry = At(number);
  if (!entry.record.keyed()) return;
  uint64_t& head = Head(entry.record.hash);
  entry.older = head;
  head = number;
}

void PendingTable::Resize(uint64_t capacity) {
  const uint64_t old_mask = mask_;
  std::vector<Entry> old = std::move(entries_);
  mask_ = capacity - 1;
  entries_.assign(capacity, Entry{});
  heads_.assign(capacity, 0);
  for (uint64_t number = first_; number < next_; ++number) {
    At(number).record = old[number & old_mask].record;
    Link(number);
  }
}

// Slots are used in turn, all of them: what a burst made large would push
// everything else out of the cache for ever after.
void PendingTable::ShrinkWhenUnused() {
  if (entries_.size() == least_capacity_ || size() * 8 > entries_.size()) {
    small_pushes_ = 0;
  } else if (++small_pushes_ > 16 * entries_.size()) {
    small_pushes_ = 0;
    Resize(entries_.size() / 2);
  }
}

uint64_t PendingTable::LowerBound(Lsn lsn) const {
  uint64_t low = first_;
  uint64_t high = next_;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    if (At(middle).record.lsn < lsn) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

const PendingRecord* PendingTable::Find(Lsn lsn) const {
  const uint64_t number = LowerBound(lsn);
  if (number == next_ || At(number).record.lsn != lsn) return nullptr;
  return &At(number).record;
}

bool PendingTable::MarkValue(Lsn lsn) {
  const uint64_t number = LowerBound(lsn);
  if (number == next_ || At(number).record.lsn != lsn) return false;
  At(number).record.has_value = true;
  return true;
}

void PendingTable::MarkValues(Lsn begin, Lsn end) {
  for (uint64_t number = LowerBound(begin);
       number < next_ && At(number).record.lsn < end; ++number) {
    At(number).record.has_value = true;
  }
}

// From the newest on, each record that goes is the head of its bucket's list.
void PendingTable::DropFrom(Lsn lsn) {
  while (!empty() && At(next_ - 1).record.lsn >= lsn) {
    const Entry& entry = At(--next_);
    if (entry.record.keyed()) Head(entry.record.hash) = entry.older;
  }
}

}  // namespace whale::metadata_mcast
