// Rebirth: a node gives up its identity. What its metadata folder holds is moved aside, where it is
// kept for inspection and never deleted; at its next start the node makes a new key and joins as
// the replacement of the node that had its name. Its data folders stay: their blocks verify
// themselves, and what is still needed of them need not be fetched again.
//
// For a disk that forgot (witness.h) and for metadata that was rebuilt.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/async/clock.h"
#include "base/async/net.h"
#include "base/core/result.h"
#include "node/config/config.h"

namespace covey {

struct Rebirth {
  std::string why;  // for people: "its disk forgot ..."
  std::vector<Address>
      seeds;  // gossip addresses of the others: a reborn node never founds a cluster
};

// Decides it, durably: it is carried out at the next start, whatever happens. Errors: kIo,
// kNoSpace.
Status plan_rebirth(const Config& config, const Rebirth& rebirth);
// Carries out what was planned; a crash on the way is no harm. Before anything of the metadata is
// opened, under the folder's lock. Errors: kIo.
Status finish_rebirth(const Config& config);
// The last rebirth. nullopt: this node still has its first identity. Errors: kIo, kCorrupt.
struct Reborn {
  std::string why;
  std::vector<Address> seeds;
  std::string aside;  // the folder with what was moved away; empty: it was removed since
};
Result<std::optional<Reborn>> last_rebirth(const Config& config);

// How the reason begins when metadata was found damaged.
inline const std::string kDamagedWhy = "its metadata was damaged: ";
// How many rebirths of the last 24 hours are kept aside for that reason. Errors: kIo.
Result<size_t> damages_of_today(const Config& config, WallTime now);

}  // namespace covey
