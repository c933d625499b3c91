// UvLoop: Loop and Clock on one libuv loop. A process runs several (S3, gossip, ...), each on its
// own thread.
#pragma once

#include <uv.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/async/clock.h"
#include "base/async/loop.h"
#include "base/async/scope.h"
#include "base/async/task.h"
#include "base/os/handle.h"
#include "base/os/timer_heap.h"

namespace covey {

class UvLoop final : public Loop, public Clock {
 public:
  // `name` is the thread's name (at most 15 bytes are shown).
  explicit UvLoop(std::string name);
  // Stops and joins the thread if start() was called. REQUIRES: every handle made on this loop is
  // closed and nobody posts any more. Functions not yet run are destroyed without running.
  ~UvLoop() override;

  // Runs the loop on a thread of its own until stop().
  void start();
  // Runs the loop on the calling thread until stop(). May be called again.
  void run();
  // Ends run() or start()'s thread, after everything posted before. Does not wait. Any thread.
  void stop();
  // stop(), then waits for start()'s thread. Not on the loop's own thread.
  void join();
  bool has_thread() const { return thread_.joinable(); }

  // For libuv calls; loop thread only, or while the loop does not run.
  uv_loop_t* uv() { return &loop_; }
  // The loop whose thread this is, or null.
  static UvLoop* current();

  void post(std::function<void()> fn) override;
  bool on_loop_thread() const override { return current() == this; }

  TimePoint now() const override;
  WallTime wall_now() const override;
  TimerId schedule(TimePoint at, std::function<void()> fn) override;
  void cancel(TimerId timer) override { timers_.remove(timer); }

 private:
  void drain();  // before the loop waits: runs what was posted
  void fire();   // the uv timer: runs what is due
  void arm(TimePoint at);

  std::string name_;
  uv_loop_t loop_;
  UvHandle<uv_async_t> wake_;      // ends the wait in epoll
  UvHandle<uv_prepare_t> before_;  // -> drain
  UvHandle<uv_check_t> after_;     // -> sleeping_ = false
  UvHandle<uv_idle_t> busy_;       // active while there is more to drain: then epoll does not wait
  UvHandle<uv_timer_t> timer_;
  TimerHeap timers_;
  std::optional<TimePoint> armed_;

  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
  // True only while the loop waits, or is about to, and nobody has woken it: so a burst of posts
  // writes the eventfd once, and posts to a busy loop never do.
  std::atomic<bool> sleeping_ = false;

  std::vector<std::function<void()>> running_;  // taken from posted_; loop thread only
  size_t next_ = 0;                             // first of running_ that has not run
  std::thread thread_;
};

namespace detail {
// Runs `task` on `loop` and waits for it; see run_task.
void run_blocking(UvLoop& loop, Task<void> task);
template <class T>
Task<void> store_result(Task<T> task, std::optional<T>& out) {
  out.emplace(co_await std::move(task));
}
}  // namespace detail

// Runs a task to its end and returns its result: for main() and tests. If the loop has a thread the
// task runs there and the caller waits; otherwise the caller runs the loop meanwhile. Not from a
// loop's thread.
inline void run_task(UvLoop& loop, Task<void> task) { detail::run_blocking(loop, std::move(task)); }
template <class T>
T run_task(UvLoop& loop, Task<T> task) {
  std::optional<T> out;
  detail::run_blocking(loop, detail::store_result(std::move(task), out));
  return std::move(*out);
}

}  // namespace covey
