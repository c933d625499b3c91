#include "base/async/task.h"

#include "tests/unit/test.h"

#include "base/async/event.h"
#include "base/async/scope.h"
#include "base/core/result.h"

using namespace covey;

static Task<int> one() { co_return 1; }
static Task<void> count(int times, int& sum) {
  for (int i = 0; i < times; ++i) sum += co_await one();
}

TEST_CASE("a million synchronous awaits use constant stack") {
  int sum = 0;
  Scope scope;
  scope.spawn(count(1'000'000, sum));
  EXPECT(sum == 1'000'000);
  EXPECT(scope.running() == 0);
}

static Task<void> wait_then(Event& event, int& seen) {
  co_await event.wait();
  ++seen;
}

TEST_CASE("an event resumes every waiter, a scope knows who runs") {
  Scope scope;
  Event event;
  int seen = 0;
  scope.spawn(wait_then(event, seen));
  scope.spawn(wait_then(event, seen));
  EXPECT(scope.running() == 2);
  event.set();
  EXPECT(seen == 2);
  EXPECT(scope.running() == 0);
}

static Task<Result<int>> fails() { co_return fail(ErrorCode::kTimeout, "late"); }
static Task<Result<int>> tries() {
  CO_TRY(int value, co_await fails());
  co_return value + 1;
}
static Task<void> keep(Task<Result<int>> task, std::optional<Result<int>>& out) {
  out = co_await std::move(task);
}

TEST_CASE("CO_TRY hands the error on") {
  Scope scope;
  std::optional<Result<int>> out;
  scope.spawn(keep(tries(), out));
  REQUIRE(out.has_value());
  EXPECT(out->is(ErrorCode::kTimeout));
}

static Task<void> take(Semaphore& semaphore, size_t count, std::string& order, char name) {
  co_await semaphore.acquire(count);
  order.push_back(name);
}

TEST_CASE("a semaphore grants in order") {
  Semaphore semaphore(1);
  Scope scope;
  std::string order;
  scope.spawn(take(semaphore, 1, order, 'a'));
  scope.spawn(take(semaphore, 2, order, 'b'));
  scope.spawn(take(semaphore, 1, order, 'c'));
  EXPECT(order == "a");
  semaphore.release(1);
  EXPECT(order == "a");
  semaphore.release(1);
  EXPECT(order == "ab");
  semaphore.release(2);
  EXPECT(order == "abc");
}
