// Where a node's metadata stands: LMDB and the identity in meta_dir, the journal and what a rebuild
// needs below the data directories.
#pragma once

#include <string>
#include <vector>

#include "node/config/config.h"
#include "store/meta/open_kv.h"
#include "store/meta/snapshots.h"

namespace covey {

// Folders and sizes; the rest is the caller's.
KvOptions kv_options(const Config& config);
// Every folder in which journals of this node may stand, by any setting.
std::vector<std::string> journal_dirs(const Config& config);
// The sealed copy of the node's identity.
std::string identity_copy(const Config& config);

// An empty meta_dir beside data directories that hold a journal or snapshots is not a new node's:
// if it started as one, nothing would be left to rebuild from. Errors: kCorrupt, with what to do.
Status metadata_not_lost(const Config& config);

}  // namespace covey
