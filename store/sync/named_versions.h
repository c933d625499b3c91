// named_versions: which versions any row of this replica names, of whatever kind and state: heads
// and parts, manifests, displaced rows that wait to be given back, and the claims of copies. What
// is not among them nobody can read through this replica.
#pragma once

#include <set>
#include <vector>

#include "base/async/loop.h"
#include "base/async/task.h"
#include "store/block/segment_store.h"
#include "store/meta/kv.h"

namespace covey {

struct SuspectVersion {
  VersionId version;
  bool part = false;  // of a multipart upload, or not known
};

// Of `suspects`, all blocks at home in `home`, those that a row names; other versions that claims
// name may be among them. The services outlive it. Errors: kCorrupt, kIo.
Task<Result<std::set<VersionId>>> named_versions(Loop& loop, Kv& kv, SegmentStore& segments,
                                                 PartitionId home,
                                                 std::vector<SuspectVersion> suspects);

}  // namespace covey
