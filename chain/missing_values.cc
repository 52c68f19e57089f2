#include "chain/missing_values.h"

#include <algorithm>

#include "logstore/missing.h"

namespace whale::chain {

using logstore::RecordHeader;

void MissingValues::Count(const MissingValue& value, int by) {
  if (value.superseded) return;
  (value.lost ? lost_count_ : missing_count_) += by;
}

void MissingValues::OnMissing(const RecordHeader& header) {
  const logstore::MissingBody body = logstore::MissingBodyOf(header);
  const auto [it, added] = values_.try_emplace(header.lsn);
  if (!added) return;
  it->second = {.version = header.lsn,
                .hash = body.hash,
                .record_bytes = logstore::RecordBytes(header),
                .checksum = body.checksum,
                .key_bytes = header.key_bytes,
                .type = body.type};
  versions_[body.hash].push_back(header.lsn);
  Count(it->second, 1);
}

void MissingValues::OnLost(const RecordHeader& header) {
  const logstore::LostValue lost = logstore::LostValueOf(header);
  const uint64_t version = logstore::VersionOf(header);
  const auto [it, added] = values_.try_emplace(version);
  MissingValue& value = it->second;
  if (added) {
    // This server has the value. It is lost all the same, as everywhere.
    value = {.version = version,
             .hash = lost.hash,
             .key_bytes = lost.key_bytes,
             .type = lost.type};
    versions_[lost.hash].push_back(version);
  } else {
    Count(value, -1);
  }
  value.lost = true;
  Count(value, 1);
}

void MissingValues::OnKeyed(uint64_t hash, const RecordHeader& header) {
  const auto it = versions_.find(hash);
  if (it == versions_.end()) return;
  const uint64_t version = logstore::VersionOf(header);
  const MissingValue* back = nullptr;
  for (const uint64_t of_hash : it->second) {
    MissingValue& value = values_.at(of_hash);
    if (value.key_bytes != header.key_bytes) continue;
    if (value.version < version && !value.superseded) {
      Count(value, -1);
      value.superseded = true;
    } else if (value.version == version && !value.lost) {
      back = &value;
    }
  }
  if (back != nullptr) Erase(*back);
}

void MissingValues::Erase(const MissingValue& value) {
  Count(value, -1);
  const uint64_t version = value.version;
  const auto it = versions_.find(value.hash);
  std::erase(it->second, version);
  if (it->second.empty()) versions_.erase(it);
  values_.erase(version);
}

const MissingValue* MissingValues::Hiding(uint64_t hash, size_t key_bytes,
                                          uint64_t newest_version) const {
  const auto it = versions_.find(hash);
  if (it == versions_.end()) return nullptr;
  const MissingValue* newest = nullptr;
  for (const uint64_t version : it->second) {
    const MissingValue& value = values_.at(version);
    const bool hides = value.version > newest_version ||
                       (value.version == newest_version && value.lost);
    if (!hides || value.key_bytes != key_bytes) continue;
    if (newest == nullptr || value.version > newest->version) newest = &value;
  }
  return newest;
}

const MissingValue* MissingValues::At(uint64_t version) const {
  const auto it = values_.find(version);
  return it == values_.end() ? nullptr : &it->second;
}

}  // namespace whale::chain
