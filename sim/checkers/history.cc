#include "sim/checkers/history.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace whale::checkers {
namespace {

const char* TypeName(OperationType type) {
  switch (type) {
    case OperationType::kGet:
      return "get";
    case OperationType::kPut:
      return "put";
    case OperationType::kDelete:
      return "delete";
    case OperationType::kCompareAndPut:
      return "compare-and-put";
    case OperationType::kDeleteIf:
      return "delete-if";
  }
  return "?";
}

const char* AnswerName(Answer answer) {
  switch (answer) {
    case Answer::kOk:
      return "ok";
    case Answer::kNotFound:
      return "not found";
    case Answer::kCompareFailed:
      return "compare failed";
    case Answer::kLost:
      return "lost";
    case Answer::kRefused:
      return "refused";
    case Answer::kUnknown:
      return "unknown";
  }
  return "?";
}

}  // namespace

std::string ToString(const Operation& operation) {
  std::string text = absl::StrCat(TypeName(operation.type), " ", operation.key);
  if (!operation.value.empty()) absl::StrAppend(&text, "=", operation.value);
  if (operation.type == OperationType::kCompareAndPut ||
      operation.type == OperationType::kDeleteIf) {
    absl::StrAppend(&text, " expected ", operation.expected_version);
  }
  absl::StrAppend(&text, " by client ", operation.client);
  if (operation.replica != 0) {
    absl::StrAppend(&text, " at replica ", operation.replica);
  }
  absl::StrAppend(&text, operation.weak ? " (weak)" : "", " [",
                  operation.invoked, ", ");
  if (operation.answered == kNever) {
    absl::StrAppend(&text, "never]");
  } else {
    absl::StrAppend(&text, operation.answered, "]");
  }
  absl::StrAppend(&text, " -> ", AnswerName(operation.answer));
  if (operation.version != 0) {
    absl::StrAppend(&text, " version ", operation.version);
  }
  return text;
}

size_t History::Invoke(Operation operation) {
  operations_.push_back(std::move(operation));
  return operations_.size() - 1;
}

std::map<std::string, std::vector<const Operation*>> History::ByKey() const {
  std::map<std::string, std::vector<const Operation*>> keys;
  for (const Operation& operation : operations_) {
    keys[operation.key].push_back(&operation);
  }
  for (auto& [key, list] : keys) {
    std::stable_sort(list.begin(), list.end(),
                     [](const Operation* a, const Operation* b) {
                       return a->invoked < b->invoked;
                     });
  }
  return keys;
}

}  // namespace whale::checkers
