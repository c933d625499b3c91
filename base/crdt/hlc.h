// Hybrid logical clock (Kulkarni et al., OPODIS'14): timestamps that follow the wall clock, never
// go back, and order an effect after its cause. They rank rows of control tables and of available
// buckets.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>

#include "base/async/clock.h"
#include "base/core/ids.h"

namespace covey {

struct HlcStamp {
  int64_t wall_ms = 0;
  uint32_t counter = 0;
  NodeId node;  // breaks ties
  auto operator<=>(const HlcStamp&) const = default;
};

class Hlc {
 public:
  explicit Hlc(NodeId node) { last_.node = node; }

  // A stamp above every stamp made or seen here before.
  HlcStamp tick(WallTime wall) {
    if (wall.ms > last_.wall_ms) {
      last_.wall_ms = wall.ms, last_.counter = 0;
    } else {
      ++last_.counter;
    }
    return last_;
  }
  // Called with every stamp that arrives.
  void witness(const HlcStamp& seen) {
    if (seen.wall_ms > last_.wall_ms ||
        (seen.wall_ms == last_.wall_ms && seen.counter > last_.counter)) {
      last_.wall_ms = seen.wall_ms, last_.counter = seen.counter;
    }
  }

 private:
  HlcStamp last_;
};

}  // namespace covey
