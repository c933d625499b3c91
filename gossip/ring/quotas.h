// How many replicas each member should hold: shares in proportion to capacity, as far as 'one copy
// per member' and 'so many zones per partition' allow.
#pragma once

#include <cstdint>
#include <vector>

#include "gossip/ring/layout.h"

namespace covey {

// How the copies of one partition must be spread.
struct Spread {
  uint32_t copies = 0;
  uint32_t per_zone = 0;  // at most so many copies of a partition in one zone
};
// As many zones as the copies allow: min(copies, zones) of them.
Spread spread_over(uint32_t copies, uint32_t zones);

struct QuotaInput {
  std::vector<uint64_t> capacity;  // per member, > 0
  std::vector<uint32_t> zone;      // per member: 0 .. zones - 1
  std::vector<uint32_t> before;    // per member: replicas held until now; steers rounding only
  uint32_t zones = 0;
  uint32_t partitions = 0;
  Spread spread;
};
// Replicas per member; their sum is partitions * copies. Each is less than one away from the
// weighted max-min fair share, and a feasible assignment exists for them: every partition can take
// quota/partitions of each member, so by the integrality of flows it can also take whole ones.
// Integers only, so that all machines agree.
std::vector<uint32_t> replica_quotas(const QuotaInput& input);

}  // namespace covey
