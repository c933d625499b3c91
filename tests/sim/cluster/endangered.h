// Endangered: what must hold at any time, amid all faults, is looked at while they last. In the end
// replicas have repaired one another, and what was missing for a while is there again.
#pragma once

#include <string>

#include "tests/sim/cluster/world.h"

namespace covey::sim {

// Of an object whose head is chosen (a majority of the partition's replicas has the very row) every
// block is on as many nodes as a majority has, wherever they are, and no replica has refused its
// version for good. A node that is down is believed to have everything; of the machine that may
// lose its data nothing is asked. Returns the first thing that is not so; empty: all is.
std::string endangered(World& world);

}  // namespace covey::sim
