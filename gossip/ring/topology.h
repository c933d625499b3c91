// Topology: what the storage layers may know of the cluster: the layout this node has adopted, and
// hints from gossip about who is reachable. Hints steer routing only; safety never depends on them.
#pragma once

#include <memory>

#include "base/async/clock.h"
#include "base/core/ids.h"
#include "gossip/ring/layout.h"

namespace covey {

class Topology {
 public:
  virtual ~Topology() = default;
  virtual NodeId self() const = 0;
  // The newest state this node has durably adopted. Never null once the node serves; a later call
  // may return a newer one.
  virtual std::shared_ptr<const LayoutState> layout() const = 0;
  // Gossip's opinion. self() is always alive.
  virtual bool alive(const NodeId& node) const = 0;
  // Smoothed round trip; 0 for self, a large guess when unknown.
  virtual Duration round_trip(const NodeId& node) const = 0;
  virtual bool same_zone(const NodeId& node) const = 0;
};

// Where the keys of one bucket's index shard live: hash(bucket, shard) modulo the partitions. Fixed
// for ever.
PartitionId shard_partition(const BucketId& bucket, uint32_t shard, uint32_t partitions);
// Which index shard of `shards` a key belongs to (XXH3 of the key). Fixed for ever.
uint32_t shard_of_key(std::string_view key, uint32_t shards);
// All bucket registers live in one partition, so that listing the buckets is one quorum range.
PartitionId buckets_partition(uint32_t partitions);

}  // namespace covey
