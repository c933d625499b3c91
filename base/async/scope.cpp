#include "base/async/scope.h"

#include <coroutine>
#include <utility>

namespace covey {

// Starts at once and frees its own frame at its end.
struct Scope::Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { CHECK(!"an exception left a task"); }
  };
};

Scope::~Scope() { CHECK(running_ == 0); }

void Scope::spawn(Task<void> task) {
  ++running_;
  run(*this, std::move(task));
}

Scope::Detached Scope::run(Scope& scope, Task<void> task) {
  {
    Task<void> owned = std::move(task);  // its frame ends before the scope may be joined
    co_await std::move(owned);
  }
  scope.finished();
}

void Scope::finished() {
  CHECK(running_ > 0);
  if (--running_ == 0) idle_.set();
}

Task<bool> Scope::sleep(Clock& clock, Duration d) {
  co_return !co_await stop_.wait_until(clock, clock.after(d));
}

Task<void> Scope::join() {
  while (running_ > 0) {
    idle_.reset();
    co_await idle_.wait();
  }
}

}  // namespace covey
