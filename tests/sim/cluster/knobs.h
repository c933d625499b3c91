// Knobs: everything that a seed decides about a run. Each fault is off in most seeds, so that a run
// which fails shows few suspects, and some seeds have many at once.
#pragma once

#include <cstdint>
#include <string>

#include "base/async/clock.h"
#include "tests/sim/sim_rng.h"

namespace covey::sim {

struct Knobs {
  // ---- the cluster
  size_t nodes = 3;
  size_t zones = 3;
  uint32_t partitions = 8;
  // ---- the load
  size_t clients = 3;
  size_t operations = 12;  // of each client
  size_t keys = 5;
  Duration think_max = std::chrono::milliseconds(400);  // between operations of a client
  double large = 0.3;                                   // bodies that go into blocks
  double huge = 0;  // bodies of several blocks; multipart uploads of several parts

  static Knobs draw(uint64_t seed);
  std::string describe() const;
};

}  // namespace covey::sim
