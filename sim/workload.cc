#include "sim/workload.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/hash.h"

namespace whale::sim {

using checkers::Answer;
using client::Operation;
using client::OperationResult;
using client::OperationType;

std::string MakeValue(std::string_view name, size_t length_bytes) {
  std::string value(name);
  value.push_back('|');
  Prng bytes(HashKey(name));
  while (value.size() < length_bytes) {
    value.push_back(static_cast<char>(bytes.Next()));
  }
  return value;
}

std::string NameOfValue(std::string_view value) {
  const size_t end = value.find('|');
  if (end != std::string_view::npos) {
    const std::string_view name = value.substr(0, end);
    if (MakeValue(name, value.size()) == value) return std::string(name);
  }
  return absl::StrCat("damaged value of ", value.size(), " bytes, hash ",
                      HashKey(value));
}

std::string NameOfKey(std::string_view key) {
  return std::string(key.substr(0, key.find('.')));
}

Workload::Workload(Cluster* cluster, const WorkloadOptions& options,
                   checkers::History* history)
    : cluster_(cluster),
      world_(&cluster->world()),
      options_(options),
      history_(history) {
  for (uint32_t i = 0; i < options_.keys; ++i) {
    std::string key = absl::StrCat("key", i);
    key.append(world_->random().Below(options_.max_key_bytes), '.');
    keys_.push_back(std::move(key));
  }
  clients_.resize(options_.clients);
}

Workload::~Workload() {
  for (Client& client : clients_) {
    if (client.alive != nullptr) *client.alive = false;
  }
}

void Workload::Start() {
  for (size_t i = 0; i < clients_.size(); ++i) RestartClient(i);
}

bool Workload::Quiet() const {
  return std::all_of(clients_.begin(), clients_.end(),
                     [](const Client& c) { return c.in_flight == 0; });
}

void Workload::RestartClient(size_t position) {
  Client& client = clients_[position];
  if (client.alive != nullptr) *client.alive = false;
  client.node.reset();
  client = Client();
  client.node = cluster_->AddClient();
  client.alive = std::make_shared<bool>(true);
  client.number = next_client_number_++;
  world_->Trace(absl::StrCat("client ", client.number, " starts"));
  for (uint32_t i = 0; i < options_.in_flight; ++i) Next(position);
}

// After a while, one more operation.
void Workload::Next(size_t position) {
  const int64_t pause = world_->Between(0, 2 * options_.think_ns);
  world_->After(pause, [this, position, alive = clients_[position].alive] {
    if (*alive && !stopped_) SubmitRandom(position);
  });
}

void Workload::SubmitRandom(size_t position) {
  Prng& random = world_->random();
  const std::string& key = keys_[random.Below(keys_.size())];
  const uint64_t seen_version = seen_versions_[NameOfKey(key)];
  Operation operation;
  operation.key = key;
  operation.timeout_ns =
      world_->Between(options_.min_timeout_ns, options_.max_timeout_ns);
  // Nothing is cleaned; a full pool would refuse everything for ever.
  const uint32_t writes_wanted = written_bytes_ < options_.max_written_bytes
                                     ? options_.puts + options_.deletes +
                                           options_.compares +
                                           options_.delete_ifs
                                     : 0;
  uint64_t kind = random.Below(options_.gets + writes_wanted);
  auto is = [&kind](uint32_t share) {
    if (kind < share) return true;
    kind -= share;
    return false;
  };
  if (is(options_.gets)) {
    operation.type = OperationType::kGet;
    operation.timeout_ns =
        std::min(operation.timeout_ns, options_.max_get_timeout_ns);
    if (random.Chance(options_.weak)) {
      operation.read_level = random.Chance(0.5) ? client::ReadLevel::kSession
                                                : client::ReadLevel::kStale;
    }
    if (random.Chance(options_.any_replica)) {
      operation.any_replica = true;
    } else if (random.Chance(options_.pinned_replica)) {
      operation.replica =
          cluster_->server(random.Below(cluster_->server_count())).node();
    }
  } else if (is(options_.puts)) {
    operation.type = OperationType::kPut;
  } else if (is(options_.deletes)) {
    operation.type = OperationType::kDelete;
  } else if (is(options_.compares)) {
    operation.type = OperationType::kCompareAndPut;
    operation.expected_version = random.Chance(0.2) ? 0 : seen_version;
  } else {
    operation.type = OperationType::kDeleteIf;
    operation.expected_version = std::max<uint64_t>(seen_version, 1);
  }
  const bool writes = operation.type != OperationType::kGet;
  if (writes) written_bytes_ += 128 + key.size();
  operation.full_durability = writes && random.Chance(options_.full_durability);
  std::string name, value;
  if (operation.type == OperationType::kPut ||
      operation.type == OperationType::kCompareAndPut) {
    name = absl::StrCat("v", next_value_++);
    // Mostly small; all sizes are met.
    const uint64_t bound = options_.max_value_bytes >> random.Below(8);
    value = MakeValue(name, random.Below(bound + 1));
    operation.value = value;
    written_bytes_ += value.size();
  }
  Submit(position, operation, name, /*final_read=*/false,
         [this, position](size_t) { Next(position); });
}

// Strictly growing, so that no two events are taken for simultaneous.
int64_t Workload::Stamp() {
  last_stamp_ = std::max(last_stamp_ + 1, world_->now_ns());
  return last_stamp_;
}

void Workload::Submit(size_t position, const Operation& operation,
                      std::string_view value_name, bool final_read,
                      std::function<void(size_t number)> done) {
  static constexpr checkers::OperationType kTypes[] = {
      checkers::OperationType::kGet, checkers::OperationType::kPut,
      checkers::OperationType::kDelete, checkers::OperationType::kCompareAndPut,
      checkers::OperationType::kDeleteIf};
  Client& client = clients_[position];
  checkers::Operation record;
  record.type = kTypes[static_cast<int>(operation.type)];
  record.key = NameOfKey(operation.key);
  record.value = std::string(value_name);
  record.expected_version = operation.expected_version;
  record.weak = operation.read_level != client::ReadLevel::kLinearizable;
  record.final_read = final_read;
  record.client = client.number;
  record.replica = operation.replica;
  record.invoked = Stamp();
  if (world_->tracing()) {
    world_->Print(absl::StrCat("  ask: ", checkers::ToString(record)));
  }
  const size_t number = history_->Invoke(std::move(record));
  ++operations_;
  ++client.in_flight;
  client.node->Submit(operation,
                      [this, position, number, alive = client.alive,
                       done = std::move(done)](const OperationResult& result) {
                        if (!*alive) return;
                        --clients_[position].in_flight;
                        Finish(number, result);
                        done(number);
                      });
}

void Workload::Finish(size_t number, const OperationResult& result) {
  checkers::Operation& record = history_->at(number);
  const bool is_get = record.type == checkers::OperationType::kGet;
  const bool conditional =
      record.type == checkers::OperationType::kCompareAndPut ||
      record.type == checkers::OperationType::kDeleteIf;
  switch (result.status.code()) {
    case absl::StatusCode::kOk:
      record.answer = Answer::kOk;
      record.version = result.version;
      record.copies = result.copies;
      if (is_get) record.value = NameOfValue(result.value);
      break;
    case absl::StatusCode::kNotFound:
      record.answer = Answer::kNotFound;
      break;
    case absl::StatusCode::kFailedPrecondition:
      record.answer = conditional ? Answer::kCompareFailed : Answer::kRefused;
      record.version = conditional ? result.version : 0;
      break;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kAborted:
      record.answer = Answer::kRefused;
      break;
    case absl::StatusCode::kDataLoss:
      record.answer = is_get ? Answer::kLost : Answer::kUnknown;
      break;
    default:
      record.answer = is_get ? Answer::kRefused : Answer::kUnknown;
  }
  if (record.answer != Answer::kUnknown) record.answered = Stamp();
  if (record.answer == Answer::kOk || record.answer == Answer::kNotFound ||
      record.answer == Answer::kCompareFailed) {
    ++answered_;
  }
  if (record.version != 0) seen_versions_[record.key] = record.version;
  world_->Note(number, static_cast<uint64_t>(record.answer));
  world_->Note(record.version, record.value.size());
  if (world_->tracing()) {
    world_->Print(absl::StrCat("  answer: ", checkers::ToString(record), " ",
                               result.status.message()));
  }
}

}  // namespace whale::sim
