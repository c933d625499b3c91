// BlockRepair: brings this node's blocks of a partition up to what its replicas have, and lets go
// of those of partitions that it no longer replicates.
//
// Lists of the other replicas say which blocks there are (rows alone do not: a copy's claim keeps
// blocks whose own row is gone); the rows say afterwards whether any is missing still. What is
// written meanwhile comes by itself: a node that has adopted this layout epoch, and only its list
// counts, keeps later blocks as debts to all replicas of the epoch. So it works alike for a replica
// of the current layout, of the next one of a joint state, and for one that was away.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/async/runtime.h"
#include "gossip/ring/topology.h"
#include "store/block/block_service.h"
#include "store/sync/pace.h"

namespace covey {

class BlockRepair {
 public:
  // Everything outlives it.
  BlockRepair(Runtime runtime, Kv& kv, const Topology& topology, BlockService& blocks);

  struct Report {
    uint64_t blocks_missing = 0, bytes_missing = 0;  // found not to be here
    uint64_t blocks_fetched = 0, bytes_fetched = 0;
    uint64_t blocks_lost = 0;  // named by a row, and no replica has them
  };
  // When it completes this node has, durably, every block of the partition that the other replicas
  // of every live layout version had when it began, as far as they answered, and every block that
  // this replica's rows name. When all have answered, repairs that nobody can make and no row needs
  // are given up. Where this node is to keep the partition alone it has read all it has before.
  // Stop it and call again: it goes on where it was. Any number of partitions at a
  // time; they share one pace. Errors: kInvalid (this node is no replica),
  // kUnavailable (no replica answered, or one is silent and a block that the rows name is nowhere
  // else), kStale (the layout changed meanwhile), kTimeout, kNoSpace, kCorrupt, kIo.
  Task<Result<Report>> catch_up(PartitionId partition, TimePoint deadline);

  // Drops this node's blocks of a partition that it is no replica of, each after all replicas had
  // it. Errors: kInvalid (it is a replica), kUnavailable (a replica does not answer; some may be
  // dropped), kStale (the layout changed meanwhile).
  Task<Status> purge(PartitionId partition, TimePoint deadline);

  // Bytes of the partition's blocks here.
  uint64_t estimate(PartitionId partition) const;

  // Of all calls since start; `missing` counts down as blocks arrive.
  struct Progress {
    uint64_t partitions = 0;  // under way
    uint64_t blocks_missing = 0, bytes_missing = 0;
    uint64_t blocks_fetched = 0, bytes_fetched = 0;
    uint64_t blocks_lost = 0;
  };
  const Progress& progress() const { return progress_; }

 private:
  static constexpr size_t kListedAtOnce = 1024;  // of a partition's blocks
  static constexpr Duration kListTimeout = std::chrono::seconds(10);

  struct Job {  // one catch_up
    PartitionId partition;
    uint32_t epoch;
    TimePoint deadline;
    std::vector<NodeId> others;  // nearest first
    size_t near = 0;             // of these, from the first on, are about as near
    Report report;
  };
  struct Verified {  // of the partition's blocks here
    uint32_t epoch = 0;
    std::optional<BlockId> last;
    bool whole = false;
  };
  struct Wanted {
    BlockId id;
    uint64_t bytes = 0;
  };
  struct Batch {  // fetches under way
    Scope scope;
    std::vector<NodeId> sources;        // that most likely have all of it
    Status failed;                      // the first failure that ends the batch
    uint64_t open = 0, open_bytes = 0;  // counted as missing in progress_
  };

  std::vector<NodeId> nearest_first(std::vector<NodeId> nodes) const;
  Status still(const Job& job) const;
  bool lacks(const BlockKey& key) const;
  bool may_come_back(const NodeId& node) const;
  Task<Status> from_node(Job& job, NodeId node);
  Task<Status> fetch_all(Job& job, NodeId node, std::vector<Wanted> wanted);
  Task<void> fetch_one(Job& job, Batch& batch, NodeId node, Wanted wanted);
  std::vector<NodeId> alike(const Job& job, NodeId node) const;
  NodeId idlest(const std::vector<NodeId>& sources) const;
  Task<Result<BlockService::Fetched>> copy_from(NodeId node, BlockKey key, TimePoint deadline);
  Task<Status> keep(BlockService::Fetched copy);
  Task<void> wait_for_slot();
  Task<Status> settle_repairs(PartitionId partition, std::vector<BlockKey> waiting);
  Task<Status> check_rows(Job& job, size_t silent);
  Task<Status> look_everywhere(Job& job, std::vector<Wanted> wanted, size_t silent);
  // hand_over.cpp
  bool will_be_alone(PartitionId partition) const;
  Task<Status> verify_own(const Job& job);
  Task<Status> hand_over(PartitionId partition, std::vector<BlockId> ids, NodeId node,
                         TimePoint deadline);

  Runtime runtime_;
  Kv& kv_;
  const Topology& topology_;
  BlockService& blocks_;
  Pace pace_;
  std::map<PartitionId, Verified> verified_;
  size_t held_ = 0, on_wire_ = 0;     // blocks under way; of these, not yet here
  std::map<NodeId, size_t> sending_;  // by node; only those that do
  Event freed_;
  Progress progress_;
};

}  // namespace covey
