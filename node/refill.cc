#include "node/refill.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/rare_branch.h"
#include "logstore/missing.h"
#include "node/grants.h"

namespace whale::node {
namespace {

constexpr int64_t kOfferNs = 5'000'000;
constexpr int kOffersAtATime = 64;
constexpr size_t kMaxOffers = 256;
static_assert(kOffersAtATime <= wire::kMaxGrantsPerMessage);
constexpr int64_t kTryAgainNs = 5'000'000;
// How often the primary goes through what is listed: that may be long, and
// remain so until a pool comes back.
constexpr int64_t kLookNs = 5'000'000;

}  // namespace

bool Refill::Has(const proto::MissingValue& value) const {
  const Lsn lsn(value.lsn());
  return state_->log.Check(lsn, state_->history) ==
             logstore::Log::Validity::kValid &&
         state_->log.HeaderAt(lsn).type != logstore::RecordType::kMissing &&
         state_->log.HeaderAt(lsn).checksum == value.checksum();
}

bool Refill::MayHold(const proto::ShardDirective& wanted, Lsn from) const {
  if (!wanted.lacks_values()) return false;
  if (!wanted.missing_is_complete()) return true;
  return std::any_of(wanted.missing().begin(), wanted.missing().end(),
                     [&](const proto::MissingValue& value) {
                       return Lsn(value.lsn()) >= from && Has(value);
                     });
}

void Refill::Offer(const proto::ShardDirective& wanted) {
  if (wanted.missing().empty() || wanted.members().empty() ||
      context_->now_ns < offer_at_ns_) {
    return;
  }
  offer_at_ns_ = context_->now_ns + kOfferNs;
  struct {
    wire::PeerHeader header;
    wire::SegmentGrantEntry entries[kOffersAtATime];
  } message{};
  message.header = {.type = wire::PeerMessageType::kOfferValues,
                    .shard = state_->shard.value(),
                    .epoch = wanted.epoch()};
  uint32_t& count = message.header.count;
  for (int looked = 0; looked < wanted.missing_size() && count < kOffersAtATime;
       ++looked) {
    next_offered_ = (next_offered_ + 1) % wanted.missing_size();
    const proto::MissingValue& value = wanted.missing(next_offered_);
    if (!Has(value)) continue;
    const std::byte* record = state_->log.At(Lsn(value.lsn()));
    message.entries[count++] = {
        .number = value.lsn(),
        .grant = ToWire(context_->GrantOf(
            record,
            logstore::RecordBytes(state_->log.HeaderAt(Lsn(value.lsn())))))};
  }
  if (count == 0) return;
  RareBranch<"refill: offers what others miss">();
  peers_->Send(
      ServerId(wanted.members(0)),
      std::as_bytes(std::span(&message, 1))
          .first(sizeof(message.header) + count * sizeof(message.entries[0])));
}

// ------------------------------------------------------------------- primary

void Refill::OnOffers(ServerId from,
                      std::span<const wire::SegmentGrantEntry> offers) {
  for (const wire::SegmentGrantEntry& entry : offers) {
    const Lsn lsn(entry.number);
    const bool known =
        reading_ == lsn || fetched_ == lsn ||
        std::any_of(offers_.begin(), offers_.end(),
                    [lsn](const Offered& other) { return other.lsn == lsn; });
    if (known || offers_.size() >= kMaxOffers || !IsWanted(lsn)) continue;
    offers_.push_back({from, lsn, ToGrant(entry.grant)});
  }
}

bool Refill::IsOrdered(uint64_t hash, uint64_t version) const {
  bool ordered = false;
  state_->pending.ForHash(hash,
                          [&](const metadata_mcast::PendingRecord& record) {
                            ordered |= record.version == version;
                            return !ordered;
                          });
  return ordered;
}

bool Refill::IsWanted(Lsn lsn) const {
  const chain::MissingValue* value = state_->missing.At(lsn.value());
  return value != nullptr && !value->lost &&
         !IsOrdered(value->hash, value->version);
}

bool Refill::StartRead() {
  if (reading_ || fetched_ || offers_.empty()) return false;
  const Offered offer = offers_.front();
  offers_.pop_front();
  const chain::MissingValue* value = state_->missing.At(offer.lsn.value());
  const Peer* peer = peers_->Find(offer.from);
  if (!IsWanted(offer.lsn) || peer == nullptr || !peer->up() ||
      offer.grant.length_bytes < value->record_bytes) {
    return true;
  }
  Link link(context_, peer->out_delivery);
  const bool posted = link.Post([&](fabric::WorkRequest* out, size_t room) {
    if (room == 0) return size_t{0};
    const WorkCookie cookie{.kind = WorkKind::kRefill, .shard = state_->shard};
    *out = {.opcode = fabric::Opcode::kRead,
            .signaled = true,
            .local = landing_->refill(),
            .length_bytes = static_cast<uint32_t>(value->record_bytes),
            .remote_key = offer.grant.key,
            .remote_address = offer.grant.address,
            .cookie = cookie.Encode()};
    return size_t{1};
  });
  if (posted) {
    reading_ = offer.lsn;
    reading_from_ = peer->out_delivery;
  }
  return true;
}

void Refill::OnCompletion(const fabric::Event& event) {
  if (!reading_ || event.connection != reading_from_) return;
  if (event.outcome == fabric::Outcome::kOk) fetched_ = reading_;
  reading_.reset();
}

void Refill::OnConnectionLost(fabric::ConnectionId connection) {
  if (connection == reading_from_) reading_.reset();
}

void Refill::Forget() {
  offers_.clear();
  fetched_.reset();
  next_offered_ = 0;
}

bool Refill::AppendFetched(PrimaryRole* primary) {
  if (!fetched_) return false;
  const Lsn lsn = *fetched_;
  const std::byte* record = landing_->refill();
  if (!IsWanted(lsn)) {
    fetched_.reset();
    return true;
  }
  const logstore::RecordHeader expected =
      logstore::OriginalOf(state_->log.HeaderAt(lsn));
  const bool whole = std::memcmp(record, &expected, sizeof(expected)) == 0 &&
                     logstore::ChecksumInPlace(record) == expected.checksum;
  if (whole && !primary->Relocate(
                   *reinterpret_cast<const logstore::RecordHeader*>(record))) {
    next_try_ns_ = context_->now_ns + kTryAgainNs;
    return false;
  }
  if (whole) RareBranch<"refill: a missing value is back">();
  fetched_.reset();
  return true;
}

// What only others lack: they know of it by their missing records.
bool Refill::AppendOwn(const proto::ShardDirective& wanted,
                       PrimaryRole* primary) {
  bool busy = false;
  for (const proto::MissingValue& value : wanted.missing()) {
    const Lsn lsn(value.lsn());
    if (state_->missing.At(value.lsn()) != nullptr ||
        !state_->log.HasSegment(state_->log.SegmentOf(lsn))) {
      continue;
    }
    // Checked below: what costs most comes last.
    const logstore::RecordHeader& header = state_->log.HeaderAt(lsn);
    if (!state_->log.segments().Belongs(lsn, header, state_->history) ||
        !logstore::IsKeyed(header)) {
      continue;
    }
    const uint64_t hash = logstore::KeyHashOf(header);
    const logstore::RecordHeader* newest =
        chain::FindOrdered(*state_, hash, logstore::KeyOf(header));
    // Superseded, or done already.
    if (newest == nullptr || newest->lsn != value.lsn() ||
        IsOrdered(hash, value.lsn()) || !Has(value)) {
      continue;
    }
    if (!primary->Relocate(header)) {
      next_try_ns_ = context_->now_ns + kTryAgainNs;
      break;
    }
    RareBranch<"refill: the primary has what others miss">();
    busy = true;
  }
  return busy;
}

bool Refill::AppendLost(const proto::ShardDirective& wanted,
                        PrimaryRole* primary) {
  bool busy = false;
  for (const uint64_t version : wanted.declared_lost()) {
    if (reading_ == Lsn(version) || fetched_ == Lsn(version) ||
        !IsWanted(Lsn(version))) {
      continue;
    }
    if (!primary->DeclareLost(*state_->missing.At(version))) {
      next_try_ns_ = context_->now_ns + kTryAgainNs;
      break;
    }
    RareBranch<"refill: a missing value is declared lost">();
    busy = true;
  }
  return busy;
}

bool Refill::Turn(const proto::ShardDirective& wanted, PrimaryRole* primary) {
  if (!primary->open() || context_->now_ns < next_try_ns_) return false;
  bool busy = AppendFetched(primary);
  busy |= StartRead();
  if (context_->now_ns < look_at_ns_) return busy;
  look_at_ns_ = context_->now_ns + kLookNs;
  busy |= AppendOwn(wanted, primary);
  busy |= AppendLost(wanted, primary);
  return busy;
}

int64_t Refill::NextDeadlineNs(const proto::ShardDirective& wanted) const {
  if (!wanted.lacks_values()) return INT64_MAX;
  return context_->now_ns + kOfferNs;
}

}  // namespace whale::node
