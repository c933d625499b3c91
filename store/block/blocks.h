// Blocks: the bytes of objects above kInlineBytesMax, replicated over the replicas of a home
// partition. Each node keeps its copies as checksummed records in append-only segment files that
// name their owner.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/clock.h"
#include "base/async/task.h"
#include "base/core/blob.h"
#include "base/core/ids.h"
#include "base/core/result.h"

namespace covey {

struct BlockId {
  VersionId version;   // the object version (or the part's own version) it was written for
  uint32_t index = 0;  // position within that version
  auto operator<=>(const BlockId&) const = default;
};

// A block and where it belongs: its home partition comes first, so that what a node keeps of one
// partition stands together.
struct BlockKey {
  PartitionId home = 0;
  BlockId id;
  auto operator<=>(const BlockKey&) const = default;
};

// Written into the record, so that metadata can be rebuilt from segments alone.
struct BlockOwner {
  BucketId bucket;
  std::string key;
  uint32_t part = 0;  // 0: a plain object
};

class Blocks {
 public:
  virtual ~Blocks() = default;

  // Durable on a write quorum of `home`'s replicas when it completes (all of them when there are
  // fewer than 3); the remaining copy is finished in the background from a durable queue. Ids are
  // used once. Errors: kUnavailable, kNoSpace, kOverloaded. REQUIRES: payload.size() <=
  // kBlockBytesMax.
  virtual Task<Status> put(PartitionId home, BlockId id, BlockOwner owner, Blob payload,
                           TimePoint deadline) = 0;

  // Likewise for available buckets: while no quorum answers, one durable copy will do, which this
  // node keeps where it is no replica. It is a debt until all replicas have it.
  virtual Task<Status> put_available(PartitionId home, BlockId id, BlockOwner owner, Blob payload,
                                     TimePoint deadline) {
    return put(home, id, std::move(owner), std::move(payload), deadline);
  }

  // Bytes [offset, offset + size) of the block, verified. Local copy first, then the nearest,
  // hedged. A bad local copy is quarantined and fetched again from a peer. Errors: kNotFound (every
  // reachable replica says so), kUnavailable.
  virtual Task<Result<Blob>> get(PartitionId home, BlockId id, uint32_t offset, uint32_t size,
                                 TimePoint deadline) = 0;

  // How much of a body is best asked of get() at a time: a piece that stays in the processor's
  // cache from the check to the socket where this node should have a copy, else a whole block.
  virtual uint32_t read_step(PartitionId home) const = 0;

  // Marks every local block of `version` deleted and refuses later ones; its space returns with
  // compaction. Durable when it completes. REQUIRES: no row names the version any more (the caller
  // proved it on a quorum).
  virtual Task<Status> drop_local(PartitionId home, VersionId version) = 0;

  struct Usage {
    uint64_t used_bytes = 0;         // live records
    uint64_t reclaimable_bytes = 0;  // deleted, not yet compacted
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    uint64_t copies_owed = 0;  // blocks whose last copy is still to be written somewhere
    uint64_t quarantined = 0;  // since start
    uint64_t to_repair = 0;    // blocks whose copy here is bad or missing, and looked for
    uint64_t repaired = 0;     // since start
  };
  virtual Usage usage() const = 0;
};

}  // namespace covey
