// DataMover: what a change of the layout needs of the storage layers, one partition at a time.
// node/storage implements it; unit tests stand in for it.
//
// Every call may be repeated and bears to be interrupted anywhere: what was done stays done.
#pragma once

#include <vector>

#include "base/async/clock.h"
#include "base/async/task.h"
#include "base/core/ids.h"
#include "base/core/result.h"

namespace covey {

class DataMover {
 public:
  virtual ~DataMover() = default;

  // This node, a replica of `partition` in the joint layout, has every committed row and every
  // attachment that a quorum of the current replicas held when the call began; durable. Errors:
  // kUnavailable (no quorum of replicas that have adopted this epoch answers).
  virtual Task<Status> catch_up_rows(PartitionId partition, TimePoint deadline) = 0;
  // As the partition's holder: every key's highest row is chosen in the joint layout, or committed
  // and on a quorum of the next one. When it completes, a quorum of the current replicas has
  // adopted this epoch. Errors: kUnavailable, kStale (another node took the partition over).
  virtual Task<Status> settle(PartitionId partition, TimePoint deadline) = 0;
  // This node has every block of the partition that the reachable current replicas have; durable.
  virtual Task<Status> catch_up_blocks(PartitionId partition, TimePoint deadline) = 0;
  // This node has every row of the control tables that a majority of the current members has.
  virtual Task<Status> catch_up_control(TimePoint deadline) = 0;

  // Drops what this node holds of a partition it is no replica of: rows at once, blocks after each
  // was found on the replicas there are now. Errors: kUnavailable (not all of them answer).
  virtual Task<Status> purge_rows(PartitionId partition) = 0;
  virtual Task<Status> purge_blocks(PartitionId partition, TimePoint deadline) = 0;

  // About how many bytes this node holds of each partition.
  virtual Task<Result<std::vector<uint64_t>>> sizes() = 0;
};

}  // namespace covey
