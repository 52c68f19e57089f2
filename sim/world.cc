#include "sim/world.h"

#include <algorithm>
#include <utility>

#include "common/hash.h"

namespace whale::sim {

void World::At(int64_t time_ns, absl::AnyInvocable<void()> action) {
  queue_.push_back(
      {std::max(time_ns, now_ns_), next_sequence_++, std::move(action)});
  std::push_heap(queue_.begin(), queue_.end(), Later);
}

bool World::RunOne(int64_t until_ns) {
  if (queue_.empty() || queue_.front().time_ns > until_ns) {
    now_ns_ = std::max(now_ns_, until_ns);
    return false;
  }
  std::pop_heap(queue_.begin(), queue_.end(), Later);
  Event event = std::move(queue_.back());
  queue_.pop_back();
  now_ns_ = event.time_ns;
  ++events_;
  Note(event.time_ns, event.sequence);
  event.action();
  return true;
}

void World::Note(uint64_t what, uint64_t detail) {
  hash_ = (hash_ ^ what) * 0x9e3779b97f4a7c15;
  hash_ = (hash_ ^ (hash_ >> 29) ^ detail) * 0xbf58476d1ce4e5b9;
  hash_ ^= hash_ >> 32;
}

void World::Trace(std::string_view line) {
  Note(line.size(), HashKey(line));
  Print(line);
}

void World::Print(std::string_view line) const {
  if (trace_ == nullptr) return;
  std::fprintf(trace_, "%12.6f ms  %.*s\n",
               static_cast<double>(now_ns_) / kMillisecond,
               static_cast<int>(line.size()), line.data());
}

}  // namespace whale::sim
