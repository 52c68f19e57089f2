#include "tests/process/final_reads.h"

#include "absl/strings/str_cat.h"

namespace whale::process_test {

std::vector<std::string> ClientKeys(uint64_t count) {
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < count; ++i) keys.push_back(absl::StrCat("key", i));
  return keys;
}

std::vector<std::string> ReadFinally(
    Client* client, const std::vector<std::string>& keys, uint32_t replicas,
    HistoryWriter* writer, std::string (*name_of)(std::string_view value)) {
  std::vector<std::string> problems;
  for (size_t i = 0; i < keys.size() * replicas; ++i) {
    checkers::Operation operation;
    operation.type = checkers::OperationType::kGet;
    operation.final_read = true;
    operation.key = keys[i / replicas];
    operation.replica = static_cast<uint32_t>(1 + i % replicas);
    ReadOptions read_options;
    read_options.replica = operation.replica;
    const uint64_t number = writer->Invoke(operation);
    const absl::StatusOr<ReadResult> result =
        client->Get(operation.key, read_options);
    if (result.ok()) {
      const std::string name = name_of(result->value);
      if (name.empty()) {
        problems.push_back(absl::StrCat("a mangled value of ", operation.key));
      }
      writer->Answer(number, checkers::Answer::kOk, result->version, name);
    } else {
      if (!absl::IsNotFound(result.status())) {
        problems.push_back(result.status().ToString());
      }
      writer->Answer(number, checkers::Answer::kNotFound);
    }
  }
  return problems;
}

}  // namespace whale::process_test
