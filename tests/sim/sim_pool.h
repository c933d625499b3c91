// SimPool: pool work on the simulation's one thread, after a seeded delay.
#pragma once

#include <functional>

#include "base/async/loop.h"
#include "tests/sim/sim_loop.h"
#include "tests/sim/sim_rng.h"

namespace covey {

class SimPool : public Pool {
 public:
  SimPool(SimLoop& loop, SimRng rng) : loop_(loop), rng_(rng) {}

  // Each piece of work takes 0..max; results may overtake one another. 0: next in line.
  void set_delay_max(Duration max) { delay_max_ = max; }
  void submit(std::function<void()> work, std::function<void()> done) override;

 private:
  SimLoop& loop_;
  SimRng rng_;
  Duration delay_max_{0};
};

}  // namespace covey
