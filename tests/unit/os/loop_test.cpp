#include "tests/unit/test.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/async/event.h"
#include "base/os/signals.h"
#include "base/os/uv_loop.h"
#include "base/os/uv_pool.h"

using namespace covey;
using namespace std::chrono_literals;

static Task<int> answer(UvLoop& loop) {
  co_await loop.sleep(1ms);
  co_await loop.yield();
  EXPECT(loop.on_loop_thread());
  co_return 42;
}

TEST_CASE("run_task runs the loop on the caller's thread, or uses the loop's own") {
  UvLoop here("here");
  EXPECT(run_task(here, answer(here)) == 42);
  EXPECT(run_task(here, answer(here)) == 42);
  UvLoop there("there");
  there.start();
  EXPECT(run_task(there, answer(there)) == 42);
  EXPECT_FALSE(there.on_loop_thread());
}

TEST_CASE("posts of one thread run in order, all of them, from several threads") {
  UvLoop loop("posts");
  loop.start();
  constexpr int kThreads = 4, kPosts = 20'000;
  std::vector<int> last(kThreads, -1);
  bool ordered = true;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i) {
        loop.post([&, t, i] {
          ordered = ordered && last[t] == i - 1;
          last[t] = i;
        });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  loop.join();
  EXPECT(ordered);
  for (int seen : last) EXPECT(seen == kPosts - 1);
}

static Task<void> timers(UvLoop& loop, std::string& order) {
  TimePoint start = loop.now();
  Event done;
  loop.schedule(start + 20ms, [&] { order += 'c', done.set(); });
  loop.schedule(start + 5ms, [&] { order += 'a'; });
  TimerId never = loop.schedule(start + 6ms, [&] { order += 'x'; });
  loop.schedule(start + 10ms, [&] { order += 'b'; });
  loop.cancel(never);
  co_await done.wait();
  EXPECT(loop.now() >= start + 20ms);
  // A task that keeps the loop busy does not keep timers from firing.
  bool fired = false;
  loop.schedule(loop.after(2ms), [&] { fired = true; });
  while (!fired) co_await loop.yield();
}

TEST_CASE("timers fire in order, never early, and not when cancelled") {
  UvLoop loop("timers");
  std::string order;
  run_task(loop, timers(loop, order));
  EXPECT(order == "abc");
}

static Task<int> square_all(UvLoop& loop, UvPool& pool, int times) {
  int sum = 0;
  for (int i = 0; i < times; ++i) {
    int squared = co_await pool.run([i] { return i % 10 * (i % 10); });
    CHECK(loop.on_loop_thread());
    sum += squared;
  }
  co_return sum;
}
static Task<void> many(UvLoop& loop, UvPool& pool, int& sum) {
  sum += co_await square_all(loop, pool, 10);
}
static Task<void> fan_out(UvLoop& loop, UvPool& pool, int tasks, int& sum) {
  Scope scope;
  for (int i = 0; i < tasks; ++i) scope.spawn(many(loop, pool, sum));
  co_await scope.join();
}

TEST_CASE("pool results come back to the loop that asked; a full queue slows the caller") {
  UvPool pool("cpu", 2);
  UvLoop one("one"), two("two");
  one.start(), two.start();
  int sum_one = 0, sum_two = 0;
  std::thread other([&] { run_task(two, fan_out(two, pool, 50, sum_two)); });
  run_task(one, fan_out(one, pool, static_cast<int>(kPoolQueueMax) + 500, sum_one));
  other.join();
  EXPECT(sum_one == 285 * (static_cast<int>(kPoolQueueMax) + 500));
  EXPECT(sum_two == 285 * 50);
}

static Task<void> hang_up(UvLoop& loop) {
  Signals signals(loop);
  Event came;
  signals.on(SIGHUP, [&] { came.set(); });
  kill(getpid(), SIGHUP);
  co_await came.wait();
}

TEST_CASE("a signal becomes a callback on the loop") {
  ignore_sigpipe();
  UvLoop loop("signals");
  run_task(loop, hang_up(loop));
}
