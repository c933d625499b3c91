#include "node/storage_mover.h"

#include <fmt/format.h>

#include "store/sync/purge.h"

namespace covey {

Task<Status> StorageMover::catch_up_rows(PartitionId partition, TimePoint deadline) {
  CO_TRY(RowSyncReport done, co_await rows_.catch_up(partition, deadline));
  if (done.caught_up()) co_return Status();
  co_return fail(ErrorCode::kUnavailable,
                 fmt::format("compared with {} of {} replicas, {} rows left", done.peers_done,
                             done.peers, done.left));
}

Task<Status> StorageMover::settle(PartitionId partition, TimePoint deadline) {
  CO_TRY(SettleReport done, co_await rows_.settle(partition, deadline));
  if (done.done) co_return Status();
  co_return fail(ErrorCode::kUnavailable, fmt::format("{} rows are not settled yet", done.left));
}

Task<Status> StorageMover::catch_up_blocks(PartitionId partition, TimePoint deadline) {
  CO_TRY(BlockRepair::Report done, co_await blocks_.catch_up(partition, deadline));
  // Lost blocks have been told in the log; nobody has them, so nobody is waited for.
  (void)done;
  co_return Status();
}

Task<Status> StorageMover::catch_up_control(TimePoint deadline) {
  return control_.catch_up(deadline);
}

Task<Status> StorageMover::purge_rows(PartitionId partition) {
  Status purged = co_await purge_partition(kv_, partition);
  registers_.purged(partition);
  co_return purged;
}

Task<Status> StorageMover::purge_blocks(PartitionId partition, TimePoint deadline) {
  return blocks_.purge(partition, deadline);
}

Task<Result<std::vector<uint64_t>>> StorageMover::sizes() {
  std::vector<uint64_t> sizes;
  for (PartitionId p = 0; p < topology_.layout()->current.partitions(); ++p)
    sizes.push_back(blocks_.estimate(p));
  co_return sizes;
}

}  // namespace covey
