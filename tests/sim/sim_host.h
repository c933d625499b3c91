// SimHost: one simulated machine. What runs on it comes and goes; the disk stays.
#pragma once

#include <string_view>

#include "base/async/runtime.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_loop.h"
#include "tests/sim/sim_pool.h"
#include "tests/sim/sim_rng.h"

namespace covey {

struct SimHost {
  SimHost(SimLoop& the_loop, SimRng& seed, std::string_view name)
      : loop(the_loop),
        clock(the_loop),
        rng(seed.split(name)),
        pool(the_loop, rng.split("pool")),
        disk(the_loop, rng.split("disk")) {}

  Runtime runtime() { return Runtime{loop, clock, rng, pool, disk}; }

  SimLoop& loop;
  SimClock clock;
  SimRng rng;
  SimPool pool;
  SimDisk disk;
};

}  // namespace covey
