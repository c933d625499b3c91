// DataOwner: each data folder says whose it is (a file `owner` with the node's id), so that disks
// that were swapped between nodes are noticed before anything is written, and a folder whose disk
// is not mounted is not taken for an empty one.
#pragma once

#include <optional>
#include <string>

#include "base/async/task.h"
#include "base/core/ids.h"
#include "base/core/result.h"
#include "node/config/config.h"
#include "store/meta/kv.h"

namespace covey {

// Checks every data folder and marks new ones. `fresh`: this node's id was made at this start, so
// that it takes over what an earlier one left. Errors: kDenied (another node's, or its disk is not
// mounted: says what to do), kIo, kNoSpace.
Task<Status> own_data_dirs(const Config& config, const NodeId& self, bool fresh, Kv& kv);
// Whose the folder is. nullopt: nobody's. Errors: kCorrupt, kIo.
Result<std::optional<NodeId>> owner_of_data_dir(const std::string& dir);
// The folder belongs to nobody any more; what it holds stays. Errors: kIo.
Status release_data_dir(const std::string& dir);

}  // namespace covey
