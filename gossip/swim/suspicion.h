// How long a suspect has to defend itself: Lifeguard's dynamic suspicion timeout. Pure.
#pragma once

#include <algorithm>
#include <cmath>

#include "gossip/swim/config.h"

namespace covey {

// `others`: members that suspect it as well as the first. Each shortens the time, logarithmically.
inline Duration suspicion_timeout(const SwimConfig& config, size_t members, size_t others) {
  double n = static_cast<double>(std::max<size_t>(members, 1));
  double least = config.suspicion_multiplier * std::max(1.0, std::log10(n)) *
                 static_cast<double>(config.probe_interval.count());
  double expected = std::max(0.0, config.suspicion_multiplier - 2);
  // Too few nodes to confirm it: waiting for them would only be slow.
  if (n - 2 < expected) expected = std::max(0.0, n - 2);
  if (expected < 1) return Duration(static_cast<int64_t>(least));
  double most = config.suspicion_max_multiplier * least;
  double share = std::log(static_cast<double>(others) + 1) / std::log(expected + 1);
  return Duration(static_cast<int64_t>(std::max(least, most - share * (most - least))));
}

}  // namespace covey
