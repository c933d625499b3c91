// Loop: the thread that owns a set of objects and runs their coroutines one at a time.
// Pool: threads for work that burns CPU or blocks; it takes and returns values.
#pragma once

#include <coroutine>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/async/task.h"

namespace covey {

class Loop {
 public:
  virtual ~Loop() = default;
  // Runs `fn` on the loop's thread, in the order posted. Any thread.
  virtual void post(std::function<void()> fn) = 0;
  virtual bool on_loop_thread() const = 0;

  // Lets everything that is ready run first: for long synchronous work in slices.
  auto yield() {
    struct Awaiter {
      Loop& loop;
      bool await_ready() noexcept { return false; }
      void await_suspend(std::coroutine_handle<> h) {
        loop.post([h] { h.resume(); });
      }
      void await_resume() noexcept {}
    };
    return Awaiter{*this};
  }
};

class Pool {
 public:
  virtual ~Pool() = default;
  // Runs `work` on a pool thread, then `done` on the loop that submitted it. Loop thread only.
  virtual void submit(std::function<void()> work, std::function<void()> done) = 0;

  // co_await pool.run([block = std::move(block)] { return md5(block); });
  // The functor must own what it uses; its result is moved back to the loop.
  template <class F, class T = std::invoke_result_t<F>>
  Task<T> run(F work) {
    struct Awaiter {
      Pool& pool;
      F& work;
      std::optional<T>& result;
      bool await_ready() noexcept { return false; }
      void await_suspend(std::coroutine_handle<> h) {
        pool.submit([this] { result.emplace(work()); }, [h] { h.resume(); });
      }
      void await_resume() noexcept {}
    };
    std::optional<T> result;
    co_await Awaiter{*this, work, result};
    co_return std::move(*result);
  }
};

}  // namespace covey
