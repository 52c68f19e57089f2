#include "sim/checkers/exactly_once.h"

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace whale::checkers {
namespace {

class KeyCheck {
 public:
  std::string Run(const std::vector<const Operation*>& operations) {
    for (const Operation* o : operations) {
      const bool carries_value = o->type == OperationType::kGet ||
                                 o->type == OperationType::kPut ||
                                 o->type == OperationType::kCompareAndPut;
      if (!carries_value) continue;
      if (o->answer == Answer::kOk && o->version != 0) {
        Seen(*o);
      } else if (o->answer == Answer::kRefused ||
                 o->answer == Answer::kCompareFailed) {
        without_effect_[o->value] = o;
      }
    }
    for (const auto& [value, o] : of_value_) {
      if (auto it = without_effect_.find(value);
          problem_.empty() && it != without_effect_.end()) {
        problem_ = absl::StrCat("a write said to have no effect was read: ",
                                ToString(*it->second), "; ", ToString(*o));
      }
    }
    return problem_;
  }

 private:
  void Seen(const Operation& o) {
    const Operation* by_value = of_value_.emplace(o.value, &o).first->second;
    const Operation* by_version =
        of_version_.emplace(o.version, &o).first->second;
    if (!problem_.empty()) return;
    if (by_value->version != o.version) {
      problem_ =
          absl::StrCat("one write took effect twice: ", ToString(*by_value),
                       "; ", ToString(o));
    } else if (by_version->value != o.value) {
      problem_ =
          absl::StrCat("one version with two values: ", ToString(*by_version),
                       "; ", ToString(o));
    }
  }

  std::map<std::string, const Operation*> of_value_;
  std::map<uint64_t, const Operation*> of_version_;
  std::map<std::string, const Operation*> without_effect_;
  std::string problem_;
};

}  // namespace

Verdict CheckExactlyOnce(const History& history) {
  for (const auto& [key, operations] : history.ByKey()) {
    std::string problem = KeyCheck().Run(operations);
    if (!problem.empty()) return {absl::StrCat("key ", key, ": ", problem)};
  }
  return {};
}

}  // namespace whale::checkers
