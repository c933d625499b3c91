#include <string>
#include <vector>

#include "tests/sim/sim_host.h"
#include "tests/unit/test.h"

using namespace covey;
using namespace std::chrono_literals;

namespace {

Task<int> add_later(SimLoop& loop, int a, int b) {
  co_await loop.sleep(5s);
  co_return a + b;
}

}  // namespace

TEST_CASE("events run by time, then in the order they were made") {
  SimLoop loop;
  std::string order;
  loop.schedule(loop.after(2s), [&] { order += 'c'; });
  loop.schedule(loop.after(1s), [&] { order += 'a'; });
  loop.schedule(loop.after(1s), [&] { order += 'b'; });
  TimerId cancelled = loop.schedule(loop.after(1s), [&] { order += 'x'; });
  loop.cancel(cancelled);
  loop.run_until_idle();
  EXPECT(order == "abc");
  loop.cancel(cancelled);
}

TEST_CASE("a task runs to its end and time passes") {
  SimLoop loop;
  TimePoint start = loop.now();
  EXPECT(loop.run(add_later(loop, 2, 3)) == 5);
  EXPECT(loop.now() - start == 5s);
  loop.run_for(1s);
  EXPECT(loop.now() - start == 6s);
  EXPECT_FALSE(loop.run_until([] { return false; }));
}

TEST_CASE("wall clocks differ and jump, monotonic time does not") {
  SimLoop loop;
  SimRng seed(1);
  SimHost a(loop, seed, "a"), b(loop, seed, "b");
  b.clock.jump_wall(-90s);
  EXPECT(a.clock.wall_now().ms - b.clock.wall_now().ms == 90'000);
  EXPECT(a.clock.now() == b.clock.now());
}

TEST_CASE("pool work returns its value after its delay, the same for a seed") {
  std::vector<int64_t> ends;
  for (int round = 0; round < 2; ++round) {
    SimLoop loop;
    SimRng seed(7);
    SimHost host(loop, seed, "n1");
    host.pool.set_delay_max(1s);
    EXPECT(loop.run(host.pool.run([] { return 42; })) == 42);
    ends.push_back(loop.now().ns);
  }
  EXPECT(ends[0] == ends[1]);
}
