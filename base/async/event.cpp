#include "base/async/event.h"

#include <algorithm>

namespace covey {

struct Event::Awaiter {
  Event& event;
  Waiter& waiter;
  bool await_ready() noexcept { return event.set_; }
  void await_suspend(std::coroutine_handle<> h) {
    waiter.handle = h;
    event.waiters_.push_back(&waiter);
  }
  void await_resume() noexcept {}
};

Event::~Event() { CHECK(waiters_.empty()); }

void Event::set() {
  set_ = true;
  // A resumed waiter may destroy this Event: work on a list of our own.
  std::list<Waiter*> ready = std::move(waiters_);
  waiters_.clear();
  for (Waiter* waiter : ready) waiter->done = true;
  while (!ready.empty()) {
    std::coroutine_handle<> handle = ready.front()->handle;
    ready.pop_front();
    handle.resume();
  }
}

Task<void> Event::wait() {
  Waiter waiter;
  co_await Awaiter{*this, waiter};
}

Task<bool> Event::wait_until(Clock& clock, TimePoint deadline) {
  if (set_) co_return true;
  Waiter waiter;
  bool timed_out = false;
  TimerId timer = clock.schedule(deadline, [this, &waiter, &timed_out] {
    if (waiter.done) return;  // set() is about to resume it
    timed_out = true;
    waiters_.remove(&waiter);
    waiter.handle.resume();
  });
  co_await Awaiter{*this, waiter};
  if (!timed_out) clock.cancel(timer);
  co_return !timed_out;
}

Semaphore::~Semaphore() { CHECK(waiters_.empty()); }

bool Semaphore::try_acquire(size_t count) {
  if (!waiters_.empty() || permits_ < count) return false;
  permits_ -= count;
  return true;
}

Task<void> Semaphore::acquire(size_t count) {
  if (try_acquire(count)) co_return;
  Waiter waiter{count, {}};
  waiters_.push_back(&waiter);
  co_await waiter.granted.wait();
}

void Semaphore::release(size_t count) {
  permits_ += count;
  // Grant before resuming: a resumed coroutine may release or acquire again.
  std::list<Waiter*> granted;
  while (!waiters_.empty() && permits_ >= waiters_.front()->count) {
    permits_ -= waiters_.front()->count;
    granted.push_back(waiters_.front());
    waiters_.pop_front();
  }
  while (!granted.empty()) {
    Waiter* waiter = granted.front();
    granted.pop_front();
    waiter->granted.set();
  }
}

Task<void> Clock::sleep(Duration d) {
  Event never;
  co_await never.wait_until(*this, after(d));
}

}  // namespace covey
