// Level: how much a component holds in memory of something that grows with the load, beside the
// limit that it keeps to. /metrics shows them; the simulation watches that none is ever above.
#pragma once

#include <cstdint>
#include <vector>

namespace covey {

struct Level {
  const char* name = "";  // with its unit where it is not a count: "memory_bodies_bytes"
  uint64_t used = 0, limit = 0;
  bool drains = true;  // zero while nothing is under way
};
using Levels = std::vector<Level>;

}  // namespace covey
