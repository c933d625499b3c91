// What this node remembers of the others' gossip addresses, so that one without seeds finds its
// cluster again at once after a restart instead of waiting until it is called.
#pragma once

#include <vector>

#include "base/async/net.h"
#include "base/async/task.h"
#include "base/core/result.h"
#include "store/meta/kv.h"

namespace covey {

inline constexpr size_t kKnownPeersMax = 64;

// Empty when nothing was ever stored. Errors: kCorrupt, kIo.
Result<std::vector<Address>> load_known_peers(Kv& kv);
// At most kKnownPeersMax of them. Errors: as Kv::write.
Task<Status> save_known_peers(Kv& kv, std::vector<Address> peers);

}  // namespace covey
