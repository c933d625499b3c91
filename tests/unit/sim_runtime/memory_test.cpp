// MemoryShare: the limit, the order, waits that end, and leases that outlive what they were for.
#include <string>
#include <thread>
#include <vector>

#include "base/async/memory_budget.h"
#include "base/core/limits.h"
#include "tests/sim/sim_loop.h"
#include "tests/unit/test.h"

using namespace covey;
using std::chrono::seconds;

namespace {

struct Fixture {
  SimLoop loop;
  MemoryShare share{loop, loop, 100};
  Scope scope;
  std::string order;
  std::vector<MemoryLease> held;

  TimePoint later() { return loop.after(seconds(10)); }
  void settle() { loop.run_for(Duration::zero()); }
};

Task<void> take(Fixture& f, size_t bytes, char name) {
  auto lease = co_await f.share.acquire(bytes, f.later());
  f.order.push_back(name);
  if (lease) {
    f.held.push_back(std::move(*lease));
  } else {
    f.order.push_back('!');
  }
}

Task<void> take_as(Fixture& f, MemoryShare::Waiter& waiter) {
  auto lease = co_await f.share.acquire(waiter, f.later());
  f.order.append(lease ? "yes" : "no");
  if (lease) f.held.push_back(std::move(*lease));
}

}  // namespace

TEST_CASE("memory: at most the limit is out, and who waits is served in order") {
  Fixture f;
  f.scope.spawn(take(f, 60, 'a'));
  f.scope.spawn(take(f, 60, 'b'));
  f.scope.spawn(take(f, 10, 'c'));  // would fit, but b came first
  EXPECT(f.order == "a");
  EXPECT(!f.share.try_acquire(1));
  f.loop.run_for(seconds(3));
  EXPECT(f.share.longest_wait() == seconds(3));
  f.held.clear();
  EXPECT(f.order == "a");  // never from within a destructor
  f.settle();
  EXPECT(f.order == "abc");
  EXPECT(f.share.used() == 70);
  EXPECT(f.share.longest_wait() == Duration::zero());
}

TEST_CASE("memory: what is larger than the limit gets it alone") {
  Fixture f;
  f.scope.spawn(take(f, 1, 'a'));
  f.scope.spawn(take(f, 1000, 'b'));
  f.scope.spawn(take(f, 1, 'c'));
  EXPECT(f.order == "a");
  f.held.clear();
  f.settle();
  EXPECT(f.order == "ab");
  f.held.clear();
  f.settle();
  EXPECT(f.order == "abc");
}

TEST_CASE("memory: a wait ends at its deadline, and others behind it go on") {
  Fixture f;
  f.scope.spawn(take(f, 60, 'a'));
  f.scope.spawn(take(f, 60, 'b'));
  f.loop.run_for(seconds(5));
  f.scope.spawn(take(f, 40, 'c'));
  f.loop.run_for(seconds(5));
  EXPECT((f.order == "ab!c" || f.order == "acb!"));
  EXPECT(f.share.used() == 100);
  EXPECT(f.share.waiting() == 0);
}

TEST_CASE("memory: a wait that is given up ends at once, one that was granted does not") {
  Fixture f;
  f.scope.spawn(take(f, 60, 'a'));
  MemoryShare::Waiter first(60), second(30);
  f.scope.spawn(take_as(f, first));
  f.scope.spawn(take_as(f, second));
  f.share.abandon(first);
  EXPECT(f.order == "anoyes");
  f.share.abandon(first);
  f.share.abandon(second);
  EXPECT(f.order == "anoyes");
  EXPECT(f.share.used() == 90);
}

TEST_CASE("memory: another limit holds at once for new leases") {
  Fixture f;
  f.scope.spawn(take(f, 80, 'a'));
  f.scope.spawn(take(f, 80, 'b'));
  f.share.set_limit(160);
  EXPECT(f.order == "ab");
  f.share.set_limit(50);
  EXPECT(!f.share.try_acquire(1));
  f.held.pop_back();
  EXPECT(!f.share.try_acquire(1));
  f.held.clear();
  EXPECT(f.share.try_acquire(50));
}

TEST_CASE("memory: a lease ends with the last reference to its bytes, on whatever thread") {
  Fixture f;
  auto lease = f.share.try_acquire(100);
  REQUIRE(lease);
  lease->shrink(64);
  EXPECT(f.share.used() == 64);
  Blob whole = leased(Blob::copy(std::string(64, 'x')), std::move(*lease));
  Blob part = whole.slice(10, 5);
  whole = Blob();
  EXPECT(part.view() == "xxxxx");
  EXPECT(f.share.used() == 64);
  std::thread other([last = std::move(part)]() mutable { last = Blob(); });
  other.join();
  EXPECT(f.share.used() == 0);
}

TEST_CASE("memory: a lease may outlive its share") {
  MemoryLease lease;
  {
    SimLoop loop;
    MemoryShare share(loop, loop, 10);
    lease = std::move(*share.try_acquire(10));
  }
  EXPECT(lease.bytes() == 10);
}

TEST_CASE("memory: the parts of the budget are less than the cap, at any cap") {
  SimLoop loop;
  for (uint64_t cap : {64 * kMiB, 256 * kMiB, 1024 * kMiB}) {
    MemoryBudget budget(loop, loop, cap);
    auto sum = [&] {
      return budget.bodies.limit() + budget.small_bodies.limit() + budget.copies.limit() +
             budget.reads.limit();
    };
    EXPECT(sum() <= cap / 4 * 3);
    budget.set_cap(cap / 2);
    EXPECT(sum() <= cap / 8 * 3);
    EXPECT(&budget.body_share(4096) == &budget.small_bodies);
    EXPECT(&budget.body_share(-1) == &budget.bodies);
  }
}
