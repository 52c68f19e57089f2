#include "sim/checkers/durability.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace whale::checkers {
namespace {

bool IsDelete(const Operation& o) {
  return o.type == OperationType::kDelete || o.type == OperationType::kDeleteIf;
}

// A key whose newest version was given up may say so, and no other; nor one
// that was written since.
std::string CheckLost(const std::vector<const Operation*>& operations,
                      uint64_t given_up) {
  for (const Operation* read : operations) {
    if (read->answer != Answer::kLost) continue;
    if (given_up == 0) {
      return absl::StrCat("said to be lost, and nobody gave it up: ",
                          ToString(*read));
    }
    // A weak read may be of a moment before.
    for (const Operation* o : operations) {
      if (read->weak || o->type == OperationType::kGet ||
          o->answer != Answer::kOk || o->version <= given_up ||
          o->answered >= read->invoked) {
        continue;
      }
      return absl::StrCat("said to be lost: ", ToString(*read), "; but after ",
                          given_up, " was given up: ", ToString(*o));
    }
  }
  return "";
}

std::string CheckKey(const std::vector<const Operation*>& operations) {
  const Operation* newest = nullptr;
  bool may_be_deleted = false;
  for (const Operation* o : operations) {
    if (o->type == OperationType::kGet) continue;
    if (o->answer == Answer::kOk &&
        (newest == nullptr || o->version > newest->version)) {
      newest = o;
    }
    if (o->answer == Answer::kUnknown && IsDelete(*o)) may_be_deleted = true;
  }
  if (newest == nullptr) return "";
  for (const Operation* o : operations) {
    if (!o->final_read) continue;
    const bool lost =
        o->answer == Answer::kNotFound
            ? !may_be_deleted && !IsDelete(*newest)
            : o->answer == Answer::kOk && o->version < newest->version;
    if (lost) {
      return absl::StrCat("acknowledged write lost: ", ToString(*newest),
                          "; afterwards ", ToString(*o));
    }
  }
  return "";
}

}  // namespace

Verdict CheckDurability(const History& history) {
  for (const auto& [key, operations] : history.ByKey()) {
    std::string problem = CheckKey(operations);
    if (problem.empty()) {
      problem = CheckLost(operations, history.NewestGivenUp(key));
    }
    if (!problem.empty()) return {problem};
  }
  return {};
}

Verdict CheckCopies(const History& history, uint32_t least) {
  for (const Operation& o : history.operations()) {
    if (o.type == OperationType::kGet || o.answer != Answer::kOk ||
        o.copies >= least) {
      continue;
    }
    return {absl::StrCat("acknowledged with ", o.copies, " copies instead of ",
                         least, ": ", ToString(o))};
  }
  return {};
}

}  // namespace whale::checkers
