#include "tests/sim/cluster/knobs.h"

#include <fmt/format.h>

namespace covey::sim {

Knobs Knobs::draw(uint64_t seed) {
  SimRng rng = SimRng(seed).split("knobs");
  Knobs knobs;
  knobs.nodes = rng.chance(0.1) ? 1 : 3;
  knobs.zones = rng.chance(0.7) ? knobs.nodes : 1;
  knobs.partitions = rng.chance(0.5) ? 4 : 16;
  knobs.clients = 2 + rng.below(4);
  knobs.operations = 8 + rng.below(12);
  knobs.keys = 2 + rng.below(6);
  knobs.think_max = std::chrono::milliseconds(rng.chance(0.3) ? 20 : 100 + rng.below(1500));
  knobs.large = rng.chance(0.5) ? 0.3 : 0.7;
  knobs.huge = rng.chance(0.1) ? 0.1 : 0;
  return knobs;
}

std::string Knobs::describe() const {
  return fmt::format("{} nodes, {} zones, {} clients x {} operations on {} keys", nodes, zones,
                     clients, operations, keys);
}

}  // namespace covey::sim
