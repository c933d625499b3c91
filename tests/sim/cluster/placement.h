// Placement: who has what, once nothing changes any more.
#pragma once

#include <string>

#include "tests/sim/cluster/world.h"

namespace covey::sim {

// Each replica has every row, attachment and block of its partitions, the rows at equal ranks, and
// nobody has anything of another partition. Returns the first thing that is not so; empty: all is.
// REQUIRES: the nodes in service serve under one layout.
std::string misplaced(World& world);

}  // namespace covey::sim
