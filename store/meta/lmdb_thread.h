// LmdbThread: the one thread that writes to LMDB. Work runs in order; results go back to the loop.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "base/async/loop.h"

namespace covey {

class LmdbThread : public Pool {
 public:
  explicit LmdbThread(Loop& loop) : loop_(loop), thread_([this] { work(); }) {}
  // Finishes what was submitted.
  ~LmdbThread() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  void submit(std::function<void()> work, std::function<void()> done) override {
    {
      std::lock_guard lock(mutex_);
      jobs_.emplace_back(std::move(work), std::move(done));
    }
    wake_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      auto [job, done] = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      loop_.post(std::move(done));
      lock.lock();
    }
  }

  Loop& loop_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::pair<std::function<void()>, std::function<void()>>> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace covey
