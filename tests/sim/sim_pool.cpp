#include "tests/sim/sim_pool.h"

#include <utility>

namespace covey {

void SimPool::submit(std::function<void()> work, std::function<void()> done) {
  Duration delay(0);
  if (delay_max_.count() > 0)
    delay = Duration(rng_.below(static_cast<uint64_t>(delay_max_.count()) + 1));
  loop_.schedule(loop_.after(delay), [work = std::move(work), done = std::move(done)] {
    work();
    done();
  });
}

}  // namespace covey
