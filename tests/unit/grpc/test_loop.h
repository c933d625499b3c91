// A loop with a clock on a thread of its own, for tests that need real time and real sockets.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "base/async/clock.h"
#include "base/async/loop.h"
#include "base/async/scope.h"

namespace covey {

class TestLoop final : public Loop, public Clock {
 public:
  TestLoop() : thread_([this] { run(); }) {}
  ~TestLoop() override {
    post([this] { stop_ = true; });
    thread_.join();
  }
  void post(std::function<void()> fn) override {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(fn));
    wake_.notify_one();
  }
  bool on_loop_thread() const override { return std::this_thread::get_id() == thread_.get_id(); }
  TimePoint now() const override {
    return {std::chrono::steady_clock::now().time_since_epoch().count()};
  }
  WallTime wall_now() const override { return {0}; }
  TimerId schedule(TimePoint at, std::function<void()> fn) override {
    TimerId id = ++last_timer_;
    timers_.emplace(std::pair(at, id), std::move(fn));
    return id;
  }
  void cancel(TimerId timer) override {
    for (auto it = timers_.begin(); it != timers_.end(); ++it)
      if (it->first.second == timer) return void(timers_.erase(it));
  }

  // Runs the task on the loop and waits for it.
  void wait(Task<void> task) {
    std::promise<void> done;
    post([&] { scope_.spawn(finish(std::move(task), done)); });
    done.get_future().wait();
    std::promise<void> quiet;  // the scope has let go of it
    post([&] { quiet.set_value(); });
    quiet.get_future().wait();
  }

 private:
  static Task<void> finish(Task<void> task, std::promise<void>& done) {
    co_await std::move(task);
    done.set_value();
  }
  void run() {
    while (!stop_) {
      std::deque<std::function<void()>> batch;
      {
        std::unique_lock lock(mutex_);
        auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
        if (!timers_.empty())
          until = std::min(until, std::chrono::steady_clock::time_point(
                                      Duration(timers_.begin()->first.first.ns)));
        wake_.wait_until(lock, until, [this] { return !queue_.empty(); });
        batch.swap(queue_);
      }
      for (auto& fn : batch) fn();
      while (!timers_.empty() && timers_.begin()->first.first <= now()) {
        auto fn = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
        fn();
      }
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  std::map<std::pair<TimePoint, TimerId>, std::function<void()>> timers_;
  TimerId last_timer_ = 0;
  bool stop_ = false;
  Scope scope_;
  std::thread thread_;
};

}  // namespace covey
