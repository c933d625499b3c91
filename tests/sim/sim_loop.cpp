#include "tests/sim/sim_loop.h"

#include <algorithm>

namespace covey {

TimerId SimLoop::schedule(TimePoint at, std::function<void()> fn) {
  TimerId id = ++last_id_;
  int64_t at_ns = std::max(at.ns, now_.ns);
  events_.emplace(Slot{at_ns, id}, std::move(fn));
  due_ns_.emplace(id, at_ns);
  return id;
}

void SimLoop::cancel(TimerId timer) {
  auto due = due_ns_.find(timer);
  if (due == due_ns_.end()) return;
  events_.erase(Slot{due->second, timer});
  due_ns_.erase(due);
}

bool SimLoop::step() {
  if (events_.empty()) return false;
  auto first = events_.begin();
  now_.ns = first->first.at_ns;
  due_ns_.erase(first->first.id);
  std::function<void()> fn = std::move(first->second);
  events_.erase(first);
  fn();
  return true;
}

void SimLoop::run_until_idle(size_t steps_max) {
  for (size_t steps = 0; step(); ++steps) CHECK(steps < steps_max);
}

void SimLoop::run_for(Duration d, size_t steps_max) {
  TimePoint end = now_ + d;
  for (size_t steps = 0; !events_.empty() && events_.begin()->first.at_ns <= end.ns; ++steps) {
    CHECK(steps < steps_max);
    step();
  }
  now_ = end;
}

bool SimLoop::run_until(const std::function<bool()>& done, Duration limit, size_t steps_max) {
  TimePoint end = now_ + limit;
  for (size_t steps = 0; !done(); ++steps) {
    CHECK(steps < steps_max);
    if (events_.empty() || events_.begin()->first.at_ns > end.ns) return false;
    step();
  }
  return true;
}

void SimLoop::finish(Scope& scope, size_t steps_max) {
  for (size_t steps = 0; scope.running() > 0; ++steps) {
    CHECK(steps < steps_max);
    bool something_is_left_to_run = step();
    CHECK(something_is_left_to_run);
  }
}

}  // namespace covey
