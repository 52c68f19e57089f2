// A store that stores nothing and answers at the next Poll: what the harness
// itself costs. Reads find nothing, at once.
//
// Thread-safety: none; one per thread.
#ifndef WHALE_BENCH_PEERS_NULL_STORE_H_
#define WHALE_BENCH_PEERS_NULL_STORE_H_

#include <string>
#include <utility>
#include <vector>

#include "bench/ycsb/store.h"

namespace whale::bench::peers {

class NullStore final : public ycsb::Store {
 public:
  void Read(std::string_view, ReadDone done) override {
    done(absl::NotFoundError("nothing is stored"));
  }
  void Write(std::string_view, std::string_view, WriteDone done) override {
    due_.push_back(std::move(done));
  }
  size_t Poll(int64_t) override {
    const size_t count = due_.size();
    for (WriteDone& done : due_) done(absl::OkStatus());
    due_.clear();
    return count;
  }

 private:
  std::vector<WriteDone> due_;
};

}  // namespace whale::bench::peers

#endif  // WHALE_BENCH_PEERS_NULL_STORE_H_
