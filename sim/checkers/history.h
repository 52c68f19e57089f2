// What clients asked and were told: the input of the checkers.
//
// Written by whoever drives clients (the simulator, process-level tests); the
// checkers know nothing else of the store. Values stand for the operation that
// wrote them, so every written value must be unique; a driver that writes
// large values keeps a short name of each here.
//
// Thread-safety: none.
#ifndef WHALE_SIM_CHECKERS_HISTORY_H_
#define WHALE_SIM_CHECKERS_HISTORY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace whale::checkers {

enum class OperationType : uint8_t {
  kGet,
  kPut,
  kDelete,
  kCompareAndPut,
  kDeleteIf,
};

enum class Answer : uint8_t {
  kOk,
  kNotFound,       // gets and deletes: the key is absent; nothing changed
  kCompareFailed,  // `version` is the key's (0: absent); nothing changed
  kRefused,        // nothing happened
  kLost,           // gets: the value was lost and given up
  kUnknown,        // no answer: may take effect at any time, or never
};

// Larger than every time of an answer.
inline constexpr int64_t kNever = INT64_MAX;

struct Operation {
  OperationType type = OperationType::kGet;
  Answer answer = Answer::kUnknown;
  // A read that need not be linearizable (session, stale): only its value and
  // version are checked.
  bool weak = false;
  // A read after the last repair; `replica` says where.
  bool final_read = false;
  uint32_t client = 0;
  uint32_t replica = 0;  // 0: wherever the client chose
  std::string key;
  std::string value;              // written, or read
  uint64_t expected_version = 0;  // of the two conditional writes
  uint64_t version = 0;           // as answered; 0: not told
  uint32_t copies = 0;            // of acknowledged writes, as answered
  // On one clock for all clients, in any unit: an operation came before
  // another if its answer is strictly smaller than the other's invocation.
  int64_t invoked = 0;
  int64_t answered = kNever;
};

// "put k=v expected 5 by client 3 [10, 20] -> ok version 7".
std::string ToString(const Operation& operation);

class History {
 public:
  // Returns the operation's number.
  size_t Invoke(Operation operation);
  Operation& at(size_t number) { return operations_[number]; }
  const std::vector<Operation>& operations() const { return operations_; }

  // The operator gave up this version of the key, and may have given up it in
  // vain.
  void GiveUp(const std::string& key, uint64_t version) {
    uint64_t& newest = given_up_[key];
    newest = std::max(newest, version);
  }
  // The newest version that was given up; 0: none.
  uint64_t NewestGivenUp(const std::string& key) const {
    const auto it = given_up_.find(key);
    return it == given_up_.end() ? 0 : it->second;
  }

  // Operations of each key, in order of invocation.
  std::map<std::string, std::vector<const Operation*>> ByKey() const;

 private:
  std::vector<Operation> operations_;
  std::map<std::string, uint64_t> given_up_;
};

// What a checker says: empty `problem` means that it found none.
struct Verdict {
  std::string problem;
  bool ok() const { return problem.empty(); }
};

}  // namespace whale::checkers

#endif  // WHALE_SIM_CHECKERS_HISTORY_H_
