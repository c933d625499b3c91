// Time, handed in everywhere so that a simulation can own it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "base/async/task.h"

namespace covey {

using Duration = std::chrono::nanoseconds;
// Monotonic; its zero means nothing. Deadlines and timeouts use it.
struct TimePoint {
  int64_t ns = 0;
  auto operator<=>(const TimePoint&) const = default;
  TimePoint operator+(Duration d) const { return {ns + d.count()}; }
  TimePoint operator-(Duration d) const { return {ns - d.count()}; }
  Duration operator-(TimePoint other) const { return Duration(ns - other.ns); }
};
// Milliseconds since 1970 by this node's wall clock. It may be wrong and may jump: it stamps
// Last-Modified, judges SigV4 dates and starts hybrid clocks; it never decides an order in a strong
// bucket.
struct WallTime {
  int64_t ms = 0;
  auto operator<=>(const WallTime&) const = default;
};

using TimerId = uint64_t;  // 0 is never a timer

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  virtual WallTime wall_now() const = 0;
  // Runs `fn` on the loop at `at` or soon after, unless cancelled before. Loop thread only.
  virtual TimerId schedule(TimePoint at, std::function<void()> fn) = 0;
  // Nothing happens if the timer has run already. Loop thread only.
  virtual void cancel(TimerId timer) = 0;

  TimePoint after(Duration d) const { return now() + d; }
  // Resumes after `d`. Prefer Scope::sleep where a shutdown must not wait for it.
  Task<void> sleep(Duration d);
};

}  // namespace covey
