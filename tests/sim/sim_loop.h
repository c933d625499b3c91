// SimLoop: Loop and Clock on one thread, without time passing by itself. Events run in the order of
// (time, sequence); time jumps from one event to the next.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "base/async/clock.h"
#include "base/async/loop.h"
#include "base/async/scope.h"
#include "base/async/task.h"

namespace covey {

inline constexpr size_t kSimStepsMax = 50'000'000;  // a run that needs more is stuck

class SimLoop : public Loop, public Clock {
 public:
  void post(std::function<void()> fn) override { schedule(now_, std::move(fn)); }
  bool on_loop_thread() const override { return true; }

  TimePoint now() const override { return now_; }
  WallTime wall_now() const override { return {kWallStartMs + now_.ns / 1'000'000 + jump_ms_}; }
  TimerId schedule(TimePoint at, std::function<void()> fn) override;
  void cancel(TimerId timer) override;

  // The wall clock of everybody who uses this loop as its Clock moves by `d` (either way).
  void jump_wall(Duration d) { jump_ms_ += d.count() / 1'000'000; }

  bool idle() const { return events_.empty(); }
  // Runs the next event, moving time to it. False if there is none.
  bool step();
  // Until no event is left. Aborts after `steps_max` (something reschedules itself for ever: use
  // run_for).
  void run_until_idle(size_t steps_max = kSimStepsMax);
  // Every event up to now + d; then the time is now + d.
  void run_for(Duration d, size_t steps_max = kSimStepsMax);
  // Until `done` returns true; false if no event is left or `limit` has passed before.
  bool run_until(const std::function<bool()>& done, Duration limit = std::chrono::hours(24),
                 size_t steps_max = kSimStepsMax);

  // Runs the task to its end, other events too. Aborts if it can never end (nothing is left to
  // run) or needs more than `steps_max` events.
  template <class T>
  T run(Task<T> task, size_t steps_max = kSimStepsMax) {
    Scope scope;
    if constexpr (std::is_void_v<T>) {
      scope.spawn(std::move(task));
      finish(scope, steps_max);
    } else {
      std::optional<T> result;
      scope.spawn(keep(std::move(task), &result));
      finish(scope, steps_max);
      return std::move(*result);
    }
  }

 private:
  static constexpr int64_t kWallStartMs = 1'767'225'600'000;  // 2026-01-01T00:00:00Z
  struct Slot {
    int64_t at_ns;
    TimerId id;  // also the sequence
    auto operator<=>(const Slot&) const = default;
  };

  template <class T>
  static Task<void> keep(Task<T> task, std::optional<T>* result) {
    result->emplace(co_await std::move(task));
  }
  void finish(Scope& scope, size_t steps_max);

  TimePoint now_{1'000'000'000};
  int64_t jump_ms_ = 0;
  TimerId last_id_ = 0;
  std::map<Slot, std::function<void()>> events_;
  std::unordered_map<TimerId, int64_t> due_ns_;
};

// One node's clock: monotonic time is the loop's at another rate, wall time has an error of its
// own.
class SimClock : public Clock {
 public:
  explicit SimClock(SimLoop& loop) : loop_(loop), loop_base_(loop.now()), base_(loop.now()) {}
  TimePoint now() const override { return base_ + scaled(loop_.now() - loop_base_, rate_); }
  WallTime wall_now() const override { return {loop_.wall_now().ms + offset_ms_}; }
  TimerId schedule(TimePoint at, std::function<void()> fn) override {
    // Rounded up, so that `at` has come when it runs.
    Duration wait = rate_ == 1 ? at - base_ : scaled(at - base_, 1 / rate_) + Duration(2);
    return loop_.schedule(loop_base_ + wait, std::move(fn));
  }
  // From now on this clock makes `rate` seconds of one second.
  void drift(double rate) {
    base_ = now();
    loop_base_ = loop_.now();
    rate_ = rate;
  }
  void cancel(TimerId timer) override { loop_.cancel(timer); }

  void jump_wall(Duration d) { offset_ms_ += d.count() / 1'000'000; }
  void set_wall_offset(Duration d) { offset_ms_ = d.count() / 1'000'000; }

 private:
  static Duration scaled(Duration d, double rate) {
    if (rate == 1) return d;
    return Duration(static_cast<int64_t>(static_cast<double>(d.count()) * rate));
  }
  SimLoop& loop_;
  TimePoint loop_base_, base_;
  double rate_ = 1;
  int64_t offset_ms_ = 0;
};

}  // namespace covey
