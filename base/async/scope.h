// Scope: owns running tasks. Every task has one: stop is requested, then the scope is joined, then
// what the tasks used may be destroyed. Nothing is fired and forgotten.
#pragma once

#include <cstddef>

#include "base/async/clock.h"
#include "base/async/event.h"
#include "base/async/task.h"

namespace covey {

class Scope {
 public:
  Scope() = default;
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  // REQUIRES: joined (no task runs).
  ~Scope();

  // Starts the task now; it runs until its first suspension before spawn returns.
  void spawn(Task<void> task);
  size_t running() const { return running_; }

  void request_stop() { stop_.set(); }
  bool stop_requested() const { return stop_.is_set(); }
  // Sleeps `d`, or until stop is requested: then false.
  Task<bool> sleep(Clock& clock, Duration d);

  // Completes when no task runs. Does not request stop.
  Task<void> join();

 private:
  struct Detached;
  static Detached run(Scope& scope, Task<void> task);
  void finished();

  size_t running_ = 0;
  Event stop_;
  Event idle_;
};

}  // namespace covey
