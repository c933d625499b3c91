// Forgetting a partition that this node is no replica of any more (register.md "Layout change": a
// replica that leaves purges its rows before it may ever return).
#pragma once

#include <functional>
#include <vector>

#include "base/core/result.h"
#include "gossip/ring/layout.h"
#include "store/meta/kv.h"

namespace covey {

// Erases the partition's rows, attachments, fences, garbage and promise. May be interrupted and
// repeated; durable when it completes. REQUIRES: under the adopted layout this node is no replica
// of it. `go_on` is asked in the same turn as each batch is written: it says so still (empty: the
// caller knows). Errors: kCancelled (it does not), kCorrupt, kIo, kOverloaded.
Task<Status> purge_partition(Kv& kv, PartitionId partition, std::function<bool()> go_on = {});

// Nothing of the partition is stored. Errors: kCorrupt, kIo.
Result<bool> partition_is_empty(Kv& kv, PartitionId partition);

// The partitions of which `self` is a replica under `chosen` but must start empty: it was none
// under `old` (nullptr: it had no layout), or it missed a whole layout in between and may have left
// and returned. What it holds of them counts for nothing under any epoch from `chosen` on: of what
// was written under the epochs that it missed it has accepted nothing, and a quorum of the old set
// that adopted joint without it brought everything older over.
std::vector<PartitionId> partitions_entered(const LayoutState* old, const LayoutState& chosen,
                                            const NodeId& self);

}  // namespace covey
