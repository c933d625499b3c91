// SWIM's settings. Names and formulas follow SWIM (DSN'02) and Lifeguard (arXiv 1707.00788).
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>

#include "base/async/clock.h"

namespace covey {

inline constexpr size_t kGossipDatagramBytesMax = 1400;  // below any sensible MTU
inline constexpr size_t kGossipMembersMax = 1024;
inline constexpr size_t kGossipSeedsMax = 64;

struct SwimConfig {
  // One member is probed per interval, round robin; both stretch by (1 + local health).
  Duration probe_interval = std::chrono::seconds(2);
  Duration probe_timeout = std::chrono::seconds(1);
  size_t indirect_probes = 3;
  Duration gossip_interval = std::chrono::milliseconds(500);
  size_t gossip_fanout = 3;
  // A suspect is dead after min = suspicion_multiplier * max(1, log10(n)) * probe_interval when
  // enough others suspect it too, and after suspicion_max_multiplier * min when nobody does.
  double suspicion_multiplier = 6;
  double suspicion_max_multiplier = 3;
  // A claim is passed on retransmit_multiplier * ceil(log10(n + 1)) times. With the usual 4 a lossy
  // network kills the living: their refutations get lost (tests/sim/gossip).
  size_t retransmit_multiplier = 12;
  uint32_t local_health_max = 8;
  Duration push_pull_interval = std::chrono::seconds(15);
  // Seeds and dead members are tried again this often, so that partitions heal by themselves.
  Duration rejoin_interval = std::chrono::seconds(10);

  // "edge" (the default; Wi-Fi and SD cards), "lan", "wan".
  static std::optional<SwimConfig> profile(std::string_view name) {
    using std::chrono::milliseconds, std::chrono::seconds;
    SwimConfig config;
    if (name == "edge") return config;
    if (name == "lan") {
      config.probe_interval = milliseconds(750), config.probe_timeout = milliseconds(400);
      config.gossip_interval = milliseconds(200);
      config.suspicion_multiplier = 4, config.suspicion_max_multiplier = 6;
      return config;
    }
    if (name == "wan") {
      config.probe_interval = seconds(5), config.probe_timeout = seconds(3);
      config.suspicion_max_multiplier = 6;
      config.push_pull_interval = seconds(60);
      return config;
    }
    return std::nullopt;
  }
};

}  // namespace covey
