#include "store/available/conflict_log.h"

#include <algorithm>

#include "base/core/codec.h"
#include "store/meta/keyspace.h"

namespace covey {
namespace {

constexpr uint8_t kFormat = 1;
constexpr size_t kKeyPrefixBytes = BucketId::kSize + 2;  // bucket id, index shard

std::string event_key(uint64_t number) {
  std::string key = table_begin(TableId::kConflicts);
  Writer(key).u64_be(number);
  return key;
}

}  // namespace

BucketId ConflictEvent::bucket() const {
  return BucketId::from_bytes(std::string_view(key).substr(0, BucketId::kSize))
      .value_or(BucketId{});
}
std::string ConflictEvent::object_key() const {
  return key.substr(std::min(key.size(), kKeyPrefixBytes));
}

void ConflictLog::open() {
  opened_ = true;
  auto rows = kv_.scan(event_key(0), table_end(TableId::kConflicts));
  for (bool first = true; rows->valid(); rows->next(), first = false) {
    Reader r(rows->key());
    r.u8();
    uint64_t number = r.u64_be();
    if (first) first_ = number;
    next_ = number + 1;
  }
}

void ConflictLog::add(ConflictEvent event, WriteBatch& batch) {
  if (!opened_) open();
  event.at = clock_.wall_now();
  std::string value;
  Writer w(value);
  w.u8(kFormat);
  w.u8(static_cast<uint8_t>(event.kind));
  w.u64(static_cast<uint64_t>(event.at.ms));
  w.u8(event.winner_deleted ? 1 : 0);
  w.raw(event.winner.view());
  w.raw(event.loser.view());
  w.bytes(event.key);
  batch.put(event_key(next_++), std::move(value));
  while (next_ - first_ > kConflictEventsMax) batch.erase(event_key(first_++));
  (event.kind == ConflictEvent::Kind::kDropped ? dropped_ : lost_)++;
}

Result<std::vector<ConflictEvent>> ConflictLog::list(size_t limit) const {
  std::vector<ConflictEvent> events;
  auto rows = kv_.scan(event_key(0), table_end(TableId::kConflicts));
  for (; rows->valid(); rows->next()) {
    Reader r(rows->value());
    if (r.u8() != kFormat) continue;  // of a newer release
    ConflictEvent event;
    event.kind = static_cast<ConflictEvent::Kind>(r.u8());
    event.at = {static_cast<int64_t>(r.u64())};
    event.winner_deleted = r.u8() != 0;
    event.winner = VersionId::from_bytes(r.raw(VersionId::kSize)).value_or(VersionId{});
    event.loser = VersionId::from_bytes(r.raw(VersionId::kSize)).value_or(VersionId{});
    event.key = r.bytes();
    if (!r.done()) return fail(ErrorCode::kCorrupt, "an event of a conflict does not decode");
    events.push_back(std::move(event));
  }
  TRY_STATUS(rows->status());
  std::reverse(events.begin(), events.end());
  if (events.size() > limit) events.resize(limit);
  return events;
}

}  // namespace covey
