// UvPool: threads for hashing or for blocking disk calls. A process has one of each kind, so that a
// slow disk never holds up hashing. Any loop may submit; `done` runs on the loop that did.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/async/loop.h"

namespace covey {

class UvLoop;

// Above this many waiting jobs the submitting thread does the work itself: that slows down whoever
// submits too much, and memory stays bounded.
inline constexpr size_t kPoolQueueMax = 4096;

class UvPool final : public Pool {
 public:
  UvPool(std::string name, size_t threads);
  // Finishes what was submitted, then joins. Its loops may still be running.
  ~UvPool() override;

  void submit(std::function<void()> work, std::function<void()> done) override;

 private:
  struct Job {
    std::function<void()> work;
    std::function<void()> done;
    UvLoop* loop;
  };
  void run_jobs();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;   // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace covey
