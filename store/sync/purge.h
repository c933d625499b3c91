// Forgetting a partition that this node is no replica of any more (register.md "Layout change": a
// replica that leaves purges its rows before it may ever return).
#pragma once

#include <functional>

#include "base/async/task.h"
#include "base/core/ids.h"
#include "base/core/result.h"
#include "store/meta/kv.h"

namespace covey {

// Erases the partition's rows, attachments, fences, garbage and promise. May be interrupted and
// repeated; durable when it completes. REQUIRES: under the adopted layout this node is no replica
// of it. `go_on` is asked in the same turn as each batch is written: it says so still (empty: the
// caller knows). Errors: kCancelled (it does not), kCorrupt, kIo, kOverloaded.
Task<Status> purge_partition(Kv& kv, PartitionId partition, std::function<bool()> go_on = {});

// Nothing of the partition is stored. Errors: kCorrupt, kIo.
Result<bool> partition_is_empty(Kv& kv, PartitionId partition);

}  // namespace covey
