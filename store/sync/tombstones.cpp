// Tombstones are collected on proof alone (register.md "Tombstones"): every replica of all live
// layouts has the tombstone or something later, or has dropped it. No clock, no age.
#include <algorithm>

#include "base/core/seeded_bug.h"
#include "store/sync/row_sync.h"

namespace covey {

namespace {
constexpr size_t kTombstonesMax = 8192;  // collected in one go
}

Task<Result<RowSync::Tombstones>> RowSync::own_tombstones(PartitionId partition, Rank horizon) {
  Tombstones found;
  std::string behind;
  bool more = true;
  while (more) {
    {
      PartitionWalk walk(kv_, registers_.tables(), partition, behind);
      size_t walked = 0;
      for (; walk.valid() && walked < kSyncWalkRows; walk.next(), ++walked) {
        behind.assign(walk.place());
        if (is_fence(behind)) continue;
        found.highest = std::max(found.highest, walk.rank());
        if (!walk.tombstone() || !walk.committed() || horizon < walk.rank()) continue;
        if (found.rows.size() == kTombstonesMax) continue;
        CO_TRY(RegisterKey key, key_of(partition, behind));
        found.rows.push_back({std::move(key), walk.rank()});
      }
      CO_TRY_STATUS(walk.status());
      more = walk.valid();
    }
    if (more) co_await runtime_.loop.yield();
  }
  co_return found;
}

Task<Result<size_t>> RowSync::collect_tombstones(PartitionId partition, TimePoint deadline) {
  CO_TRY(Place at, place(partition));
  const uint64_t changes = registers_.changes(partition);
  Horizon& before = horizons_[partition];  // map nodes stay where they are
  if (before.idle && before.changes == changes) co_return size_t{0};
  CO_TRY(Tombstones found, co_await own_tombstones(partition, before.rank));
  size_t dropped = 0;
  for (size_t i = 0; i < found.rows.size(); i += kSyncPlacesMax) {
    if (runtime_.clock.now() >= deadline || stopped_) co_return dropped;
    std::vector<CommitNotice> some(
        found.rows.begin() + static_cast<std::ptrdiff_t>(i),
        found.rows.begin() +
            static_cast<std::ptrdiff_t>(std::min(found.rows.size(), i + kSyncPlacesMax)));
    TimePoint until = std::min(deadline, runtime_.clock.after(kSyncStep));
    CO_TRY(std::vector<CommitNotice> proven, co_await prove(at, std::move(some), until));
    if (proven.empty()) continue;
    // Refused if the layout has changed since the proof.
    CO_TRY(size_t now, co_await registers_.collect(partition, at.epoch, std::move(proven)));
    dropped += now;
    totals_.tombstones_collected += now;
  }
  // A rank seen everywhere at the next call was on its way for at least that long.
  before.idle = found.rows.size() == dropped && before.rank == found.highest;
  before.changes = registers_.changes(partition);
  before.rank = found.highest;
  co_return dropped;
}

// Those of the tombstones that every other replica has, or has dropped. Errors: kUnavailable (one
// does not answer, or not under this epoch: nothing is proven).
Task<Result<std::vector<CommitNotice>>> RowSync::prove(Place at,
                                                       std::vector<CommitNotice> tombstones,
                                                       TimePoint deadline) {
  if (SEEDED_BUG("sync-tombstone-unproven")) co_return tombstones;
  for (const NodeId& node : at.others) {
    if (tombstones.empty()) break;
    SyncRequest request;
    request.verb = SyncVerb::kProve;
    request.epoch = at.epoch;
    request.partition = tombstones.front().key.partition;
    for (const CommitNotice& one : tombstones) request.places.push_back(place_of(one.key));
    CO_TRY(SyncReply reply, co_await ask(node, std::move(request), deadline));
    std::map<std::string_view, Rank> there;
    for (const RowMark& mark : reply.marks) there[mark.place] = mark.rank;
    std::vector<CommitNotice> proven;
    for (CommitNotice& one : tombstones) {
      auto row = there.find(place_of(one.key));
      const Rank& has = row == there.end() ? reply.floor : row->second;
      if (has >= one.rank) proven.push_back(std::move(one));
    }
    tombstones = std::move(proven);
  }
  co_return tombstones;
}

}  // namespace covey
