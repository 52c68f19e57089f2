// Marks of branches that matter and are seldom taken: whoever runs many seeds
// wants to know that each of them was. (As FoundationDB's code probes.)
//
//   if (torn) {
//     RareBranch<"ring entry is torn">();
//     ...
//
// A mark that is never hit is listed too. Names have no digits and no commas.
//
// Thread-safety: safe from any thread. Costs an increment where it is hit; not
// for hot paths.
#ifndef WHALE_COMMON_RARE_BRANCH_H_
#define WHALE_COMMON_RARE_BRANCH_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace whale {

class RareBranchMark {
 public:
  explicit RareBranchMark(std::string_view name) : name_(name), next_(first_) {
    first_ = this;
  }
  void Hit() { hits_.fetch_add(1, std::memory_order_relaxed); }

  // Calls `visit(std::string_view name, uint64_t hits)` for every mark of the
  // program, hit or not.
  template <typename Visitor>
  static void ForEach(Visitor&& visit) {
    for (const RareBranchMark* mark = first_; mark; mark = mark->next_) {
      visit(mark->name_, mark->hits_.load(std::memory_order_relaxed));
    }
  }

 private:
  static inline constinit RareBranchMark* first_ = nullptr;

  const std::string_view name_;
  RareBranchMark* const next_;
  std::atomic<uint64_t> hits_{0};
};

namespace rare_branch_internal {

template <size_t size>
struct Name {
  constexpr Name(const char (&text)[size]) {
    std::copy_n(text, size, this->text);
  }
  char text[size];
};

// Made before main, whether it is ever hit or not.
template <Name name>
inline RareBranchMark mark{std::string_view(name.text, sizeof(name.text) - 1)};

}  // namespace rare_branch_internal

template <rare_branch_internal::Name name>
void RareBranch() {
  rare_branch_internal::mark<name>.Hit();
}

}  // namespace whale

#endif  // WHALE_COMMON_RARE_BRANCH_H_
