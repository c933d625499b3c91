// Waiting between coroutines of one loop. Not thread-safe: other threads post to the loop first.
#pragma once

#include <coroutine>
#include <cstddef>
#include <deque>
#include <list>
#include <optional>
#include <utility>

#include "base/async/clock.h"
#include "base/async/task.h"

namespace covey {

// A flag that coroutines wait for. Setting it resumes every waiter, inline, in the order they came.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  // REQUIRES: nobody waits.
  ~Event();

  void set();
  void reset() { set_ = false; }
  bool is_set() const { return set_; }

  Task<void> wait();
  // false if the deadline came first.
  Task<bool> wait_until(Clock& clock, TimePoint deadline);

 private:
  struct Waiter {
    std::coroutine_handle<> handle;
    bool done = false;
  };
  struct Awaiter;
  bool set_ = false;
  std::list<Waiter*> waiters_;
};

// A queue between coroutines: any number put, one takes. The bound is the sender's to keep
// (fan-outs are bounded by the replica count); kMax is checked.
template <class T, size_t kMax = 65536>
class Mailbox {
 public:
  void put(T value) {
    CHECK(queue_.size() < kMax);
    queue_.push_back(std::move(value));
    arrived_.set();
  }
  size_t size() const { return queue_.size(); }

  Task<T> next() {
    while (queue_.empty()) {
      arrived_.reset();
      co_await arrived_.wait();
    }
    co_return pop();
  }
  // nullopt if nothing came before the deadline.
  Task<std::optional<T>> next_until(Clock& clock, TimePoint deadline) {
    std::optional<T> taken;
    bool in_time = true;
    while (in_time && queue_.empty()) {
      arrived_.reset();
      in_time = co_await arrived_.wait_until(clock, deadline);
    }
    if (!queue_.empty()) taken.emplace(pop());
    co_return std::move(taken);
  }

 private:
  T pop() {
    T value = std::move(queue_.front());
    queue_.pop_front();
    return value;
  }
  std::deque<T> queue_;
  Event arrived_;
};

// At most `permits` coroutines hold the semaphore; the rest wait in order.
class Semaphore {
 public:
  explicit Semaphore(size_t permits) : permits_(permits) {}
  ~Semaphore();
  Task<void> acquire(size_t count = 1);
  // Without waiting; false if fewer than `count` are free or others wait.
  bool try_acquire(size_t count = 1);
  void release(size_t count = 1);
  size_t available() const { return permits_; }
  size_t waiting() const { return waiters_.size(); }

 private:
  struct Waiter {
    size_t count;
    Event granted;
  };
  size_t permits_;
  std::list<Waiter*> waiters_;
};

}  // namespace covey
