// Letting go of blocks: what who leaves asks of those that stay, and what one that stays alone
// makes sure of before.
#include <algorithm>

#include "base/core/seeded_bug.h"
#include "store/sync/block_repair.h"

namespace covey {

bool BlockRepair::will_be_alone(PartitionId partition) const {
  ReplicaSets sets = replica_sets(*topology_.layout(), partition);
  return sets.changes() && sets.next == std::vector<NodeId>{topology_.self()};
}

// A copy that went bad is good enough for whoever asks whether it is here, until somebody reads it.
// When all others let go of theirs that would be too late, so this node reads all of its own while
// they still have them; what is bad is set aside, and fetched with what is missing. It rests for as
// long as it reads.
Task<Status> BlockRepair::verify_own(const Job& job) {
  std::erase_if(verified_, [&](const auto& one) { return one.second.epoch != job.epoch; });
  Verified so_far = verified_[job.partition];
  so_far.epoch = job.epoch;
  while (!so_far.whole) {
    CO_TRY(std::vector<SegmentStore::Listed> found,
           blocks_.segments().list(job.partition, so_far.last, kListedAtOnce));
    for (const SegmentStore::Listed& one : found) {
      CO_TRY_STATUS(still(job));
      TimePoint start = runtime_.clock.now();
      auto record = co_await blocks_.segments().read_record({job.partition, one.id});
      if (record.is(ErrorCode::kIo)) co_return tl::unexpected<Error>(std::move(record).error());
      so_far.last = one.id;
      verified_[job.partition] = so_far;
      Duration took = runtime_.clock.now() - start;
      if (took > Duration::zero()) co_await runtime_.clock.sleep(took);
    }
    so_far.whole = found.size() < kListedAtOnce;
    verified_[job.partition] = so_far;
    co_await runtime_.loop.yield();
  }
  co_return Status();
}

// Who does not answer, or takes no block, keeps this node from dropping anything, but not the
// others from getting what they lack: it may be all that is left of it.
Task<Status> BlockRepair::purge(PartitionId partition, TimePoint deadline) {
  auto layout = topology_.layout();
  std::vector<NodeId> replicas = replica_sets(*layout, partition).all();
  if (std::find(replicas.begin(), replicas.end(), topology_.self()) != replicas.end())
    co_return fail(ErrorCode::kInvalid, "this node is a replica of the partition");
  Status all;
  std::optional<BlockId> after;
  for (bool more = true; more;) {
    CO_TRY(std::vector<SegmentStore::Listed> found,
           blocks_.segments().list(partition, after, kListedAtOnce));
    more = found.size() == kListedAtOnce;
    if (found.empty()) break;
    after = found.back().id;
    std::vector<BlockId> ids;
    std::vector<BlockKey> keys;
    for (const SegmentStore::Listed& one : found) {
      ids.push_back(one.id);
      keys.push_back({partition, one.id});
    }
    for (size_t i = replicas.size(); i-- > 0 && !SEEDED_BUG("layout-purge-unasked");) {
      Status given = co_await hand_over(partition, ids, replicas[i], deadline);
      if (given) continue;
      all = std::move(given);
      replicas.erase(replicas.begin() + static_cast<ptrdiff_t>(i));  // not in this pass again
    }
    if (topology_.layout()->epoch != layout->epoch)
      co_return fail(ErrorCode::kStale, "the layout changed: look at the partition again");
    if (!all) continue;
    CO_TRY_STATUS(co_await blocks_.segments().forget(std::move(keys)));
  }
  co_return all;
}

// The node has the blocks when it completes.
Task<Status> BlockRepair::hand_over(PartitionId partition, std::vector<BlockId> ids, NodeId node,
                                    TimePoint deadline) {
  TimePoint until = std::min(deadline, runtime_.clock.after(kListTimeout));
  auto asked = co_await blocks_.held_at(node, partition, ids, until);
  if (!asked)
    co_return fail(ErrorCode::kUnavailable, "a replica does not answer: " + asked.error().message);
  const std::vector<bool> held = std::move(*asked);
  for (size_t i = 0; i < ids.size(); ++i) {
    if (held[i]) continue;
    if (runtime_.clock.now() >= deadline)
      co_return fail(ErrorCode::kUnavailable, "there was more to hand over than time allowed");
    BlockKey key{partition, ids[i]};
    Status brought = co_await blocks_.bring(key, node);
    // Dropped here meanwhile, or found bad and set aside: there is nothing to hand over any more.
    // That the other one answered 'corrupt' says nothing of the copy here.
    if (!brought && blocks_.segments().has(key))
      co_return fail(ErrorCode::kUnavailable,
                     "a replica does not take a block: " + brought.error().message);
  }
  co_return Status();
}

}  // namespace covey
