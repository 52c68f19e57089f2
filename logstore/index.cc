#include "logstore/index.h"

#include <sys/mman.h>

#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "common/check.h"
#include "common/huge_pages.h"

namespace whale::logstore {
namespace {

constexpr size_t kChunkBytes = kHugePageBytes;
// From so many chunks on huge pages waste little, and pages of 4 KiB miss the
// TLB at every look-up.
constexpr size_t kSmallChunks = 8;

// Zeroed memory of a chunk, aligned to its size.
void* MapChunk(bool huge) {
  void* mapped = MapAligned(kChunkBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
  WHALE_CHECK_MSG(mapped != MAP_FAILED, "no memory for the index");
  madvise(mapped, kChunkBytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  return mapped;
}

bool IsNewer(const RecordHeader& a, const RecordHeader& b) {
  const uint64_t version_a = VersionOf(a);
  const uint64_t version_b = VersionOf(b);
  return version_a != version_b ? version_a > version_b : a.lsn > b.lsn;
}

}  // namespace

// Aligned to its size, so that a page finds its info.
struct Index::Chunk {
  static constexpr size_t kPages = kChunkBytes / sizeof(Page) - 1;
  PageInfo infos[kPages];
  uint32_t used;
  bool huge;
  Page pages[kPages];
};

Index::Index(const std::byte* pool_base) : pool_base_(pool_base) { Clear(); }

Index::~Index() { FreeAll(); }

void Index::FreeAll() {
  for (Chunk* chunk : chunks_) munmap(chunk, kChunkBytes);
  chunks_.clear();
}

void Index::Clear() {
  FreeAll();
  overflow_.clear();
  size_ = 0;
  directory_.assign(1, NewPage(0));
}

Index::PageInfo& Index::InfoOf(const Page* page) {
  static_assert(sizeof(Chunk) == kChunkBytes);
  auto* chunk = reinterpret_cast<Chunk*>(reinterpret_cast<uintptr_t>(page) &
                                         ~(kChunkBytes - 1));
  return chunk->infos[page - chunk->pages];
}

Index::Page* Index::NewPage(uint16_t depth) {
  if (chunks_.empty() || chunks_.back()->used == Chunk::kPages) {
    const bool huge = chunks_.size() >= kSmallChunks;
    auto* chunk = static_cast<Chunk*>(MapChunk(huge));
    chunk->huge = huge;
    chunks_.push_back(chunk);
    // Those from before follow, one at a time: each takes a moment.
    if (huge && chunks_.size() <= 2 * kSmallChunks) {
      Chunk* const earlier = chunks_[chunks_.size() - 1 - kSmallChunks];
      MoveToHugePages(earlier, kChunkBytes);
      earlier->huge = true;
    }
  }
  Page* page = &chunks_.back()->pages[chunks_.back()->used++];
  InfoOf(page).depth = depth;
  return page;
}

uint64_t Index::memory_bytes() const {
  uint64_t bytes = directory_.capacity() * sizeof(Page*) +
                   chunks_.capacity() * sizeof(Chunk*) + overflow_.size() * 48 +
                   overflow_.bucket_count() * 8;
  for (const Chunk* chunk : chunks_) {
    // Of others than huge pages only what was touched is there.
    bytes += chunk->huge ? kChunkBytes : (chunk->used + 1) * sizeof(Page);
  }
  return bytes;
}

Index::Entry Index::EntryOf(uint32_t bits, const RecordHeader* record) const {
  const auto place =
      static_cast<uint64_t>(reinterpret_cast<const std::byte*>(record) -
                            pool_base_) /
      kRecordAlignment;
  WHALE_CHECK(place != 0 && place >> kPlaceBits == 0);
  return Entry{bits} << kPlaceBits | place;
}

// Without a branch per entry: which of them matches is chance, and a wrong
// guess costs more than looking at all.
uint32_t Index::Matching(const Entry* line, uint32_t bits) {
#if defined(__SSE2__)
  const auto pair = [line](size_t i) {  // of hash bits, as floats for shuffling
    return _mm_castsi128_ps(_mm_srli_epi64(
        _mm_load_si128(reinterpret_cast<const __m128i*>(line) + i),
        kPlaceBits));
  };
  const auto four = [&](size_t i) {
    return _mm_castps_si128(
        _mm_shuffle_ps(pair(i), pair(i + 1), _MM_SHUFFLE(2, 0, 2, 0)));
  };
  const __m128i wanted = _mm_set1_epi32(static_cast<int>(bits));
  const __m128i equal = _mm_packs_epi32(_mm_cmpeq_epi32(four(0), wanted),
                                        _mm_cmpeq_epi32(four(2), wanted));
  return static_cast<uint32_t>(
      _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())));
#else
  uint32_t matching = 0;
  for (size_t i = 0; i < kLineEntries; ++i) {
    matching |= static_cast<uint32_t>(BitsOf(line[i]) == bits) << i;
  }
  return matching;
#endif
}

template <typename Predicate>
Index::Entry* Index::FindEntry(uint64_t hash, const Predicate& is_it) const {
  const uint32_t bits = StoredBits(hash);
  Page* page = PageOf(bits);
  size_t at = HomeLine(bits);
  for (size_t probed = 0; probed < kPageLines; ++probed) {
    Entry* line = page->lines[at];
    for (uint32_t left = Matching(line, bits); left != 0; left &= left - 1) {
      Entry* entry = &line[std::countr_zero(left)];
      if (*entry != 0 && is_it(RecordOf(*entry))) return entry;
    }
    if (line[kLineEntries - 1] == 0) break;
    at = (at + 1) % kPageLines;
  }
  if (overflow_.empty()) return nullptr;
  const auto [first, last] = overflow_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    if (is_it(RecordOf(it->second))) return &it->second;
  }
  return nullptr;
}

const RecordHeader* Index::Find(uint64_t hash, std::string_view key) const {
  const Entry* entry = FindEntry(
      hash, [key](const RecordHeader* r) { return KeyOf(*r) == key; });
  return entry == nullptr ? nullptr : RecordOf(*entry);
}

void Index::PrefetchRecord(uint64_t hash) const {
  const uint32_t bits = StoredBits(hash);
  const Entry* line = HomeLineOf(bits);
  const uint32_t matching = Matching(line, bits);
  if (matching == 0) return;
  // Another key with the same bits is rare.
  const auto* record = reinterpret_cast<const std::byte*>(
      RecordOf(line[std::countr_zero(matching)]));
  whale::Prefetch(record);
  whale::Prefetch(record + 64);  // most keys end in the second line
}

bool Index::Apply(uint64_t hash, const RecordHeader* record) {
  WHALE_DCHECK(IsKeyed(*record));
  const Entry fresh = EntryOf(StoredBits(hash), record);
  Entry* entry = FindEntry(hash, [key = KeyOf(*record)](const RecordHeader* r) {
    return KeyOf(*r) == key;
  });
  if (entry == nullptr) {
    Insert(hash, fresh);
    ++size_;
    return true;
  }
  if (!IsNewer(*record, *RecordOf(*entry))) return false;
  *entry = fresh;
  return true;
}

bool Index::Replace(uint64_t hash, const RecordHeader* from,
                    const RecordHeader* to) {
  Entry* entry =
      FindEntry(hash, [from](const RecordHeader* r) { return r == from; });
  if (entry == nullptr) return false;
  if (to != nullptr) {
    *entry = EntryOf(StoredBits(hash), to);
  } else {
    Remove(hash, entry);
    --size_;
  }
  return true;
}

void Index::Insert(uint64_t hash, Entry entry) {
  const uint32_t bits = StoredBits(hash);
  Page* page = PageOf(bits);
  while (InfoOf(page).entries >= kSplitAt && InfoOf(page).depth < kMaxDepth) {
    Split(bits);
    page = PageOf(bits);
  }
  if (InfoOf(page).entries == kPageEntries) {
    overflow_.emplace(hash, entry);
    return;
  }
  Place(page, entry);
  ++InfoOf(page).entries;
}

// Into the first line from its home that has room. REQUIRES: one has.
void Index::Place(Page* page, Entry entry) {
  for (size_t at = HomeLine(BitsOf(entry));; at = (at + 1) % kPageLines) {
    for (Entry& slot : page->lines[at]) {
      if (slot != 0) continue;
      slot = entry;
      return;
    }
  }
}

void Index::Split(uint32_t bits) {
  Page* page = PageOf(bits);
  const uint16_t depth = InfoOf(page).depth;
  if (size_t{1} << depth == directory_.size()) {
    directory_.reserve(2 * directory_.size());
    directory_.insert(directory_.end(), directory_.begin(), directory_.end());
  }
  Page* upper = NewPage(depth + 1);
  InfoOf(page) = {.entries = 0, .depth = static_cast<uint16_t>(depth + 1)};
  const uint32_t low = bits & ((1u << depth) - 1);
  for (size_t i = low | 1u << depth; i < directory_.size();
       i += size_t{2} << depth) {
    directory_[i] = upper;
  }
  const Page old = *page;
  std::memset(page, 0, sizeof(*page));
  for (const auto& line : old.lines) {
    for (const Entry entry : line) {
      if (entry == 0) break;
      Page* target = (BitsOf(entry) >> depth & 1) != 0 ? upper : page;
      Place(target, entry);
      ++InfoOf(target).entries;
    }
  }
}

void Index::Remove(uint64_t hash, Entry* entry) {
  const auto [first, last] = overflow_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    if (&it->second == entry) {
      overflow_.erase(it);
      return;
    }
  }
  Page* page = PageOf(StoredBits(hash));
  const size_t line = (entry - &page->lines[0][0]) / kLineEntries;
  const bool was_full = page->lines[line][kLineEntries - 1] != 0;
  TakeOut(page->lines[line], entry);
  if (was_full) PullBack(page, line);
  --InfoOf(page).entries;
}

void Index::TakeOut(Entry* line, Entry* entry) {
  size_t last = kLineEntries - 1;
  while (line[last] == 0) --last;
  *entry = line[last];
  line[last] = 0;
}

// `line` was full and has room now: brings back an entry that had passed it,
// so that probing may go on stopping at lines that are not full.
void Index::PullBack(Page* page, size_t line) {
  size_t at = line;
  for (size_t distance = 1; distance < kPageLines; ++distance) {
    at = (at + 1) % kPageLines;
    const bool was_full = page->lines[at][kLineEntries - 1] != 0;
    for (Entry& entry : page->lines[at]) {
      if (entry == 0) break;
      const size_t from_home = (at - HomeLine(BitsOf(entry))) % kPageLines;
      if (from_home < distance) continue;  // its home lies behind `line`
      page->lines[line][kLineEntries - 1] = entry;
      TakeOut(page->lines[at], &entry);
      if (was_full) PullBack(page, at);
      return;
    }
    if (!was_full) return;
  }
}

}  // namespace whale::logstore
