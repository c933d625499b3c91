#include "base/os/uv_pool.h"

#include <fmt/core.h>
#include <pthread.h>

#include <utility>

#include "base/core/check.h"
#include "base/os/uv_loop.h"

namespace covey {

UvPool::UvPool(std::string name, size_t threads) {
  CHECK(threads > 0);
  for (size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, label = fmt::format("{}-{}", name, i).substr(0, 15)] {
      pthread_setname_np(pthread_self(), label.c_str());
      run_jobs();
    });
  }
}

UvPool::~UvPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void UvPool::submit(std::function<void()> work, std::function<void()> done) {
  UvLoop* loop = UvLoop::current();
  CHECK(loop != nullptr);
  Job job{std::move(work), std::move(done), loop};
  {
    std::lock_guard lock(mutex_);
    CHECK(!stopping_);
    if (jobs_.size() < kPoolQueueMax) {
      jobs_.push_back(std::move(job));
      changed_.notify_one();
      return;
    }
  }
  job.work();
  loop->post(std::move(job.done));
}

void UvPool::run_jobs() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job.work();
    job.work = nullptr;  // what it owns goes before `done` may resume its owner
    job.loop->post(std::move(job.done));
    lock.lock();
  }
}

}  // namespace covey
