#include "base/os/timer_heap.h"

#include "tests/unit/test.h"

#include <algorithm>
#include <map>

#include "base/os/os_rng.h"

using namespace covey;

TEST_CASE("timers come out in order of time and removed ones not at all") {
  OsRng rng;
  TimerHeap heap;
  std::vector<int64_t> fired;
  std::map<TimerId, int64_t> alive;
  for (int round = 0; round < 5000; ++round) {
    auto at = static_cast<int64_t>(rng.below(1000));
    alive.emplace(heap.add(TimePoint{at}, [at, &fired] { fired.push_back(at); }), at);
    if (rng.chance(0.5)) {
      auto victim = std::next(alive.begin(), static_cast<ptrdiff_t>(rng.below(alive.size())));
      EXPECT(heap.remove(victim->first));
      EXPECT_FALSE(heap.remove(victim->first));
      alive.erase(victim);
    }
  }
  EXPECT(heap.size() == alive.size());
  while (auto fn = heap.pop_due(TimePoint{500})) fn();
  EXPECT(std::is_sorted(fired.begin(), fired.end()));
  auto due = std::count_if(alive.begin(), alive.end(), [](auto& a) { return a.second <= 500; });
  EXPECT(static_cast<ptrdiff_t>(fired.size()) == due);
  EXPECT((!heap.earliest() || heap.earliest()->ns > 500));
}
