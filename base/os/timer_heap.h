// TimerHeap: pending callbacks ordered by time. Pure: it neither reads a clock nor waits.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/async/clock.h"

namespace covey {

class TimerHeap {
 public:
  TimerId add(TimePoint at, std::function<void()> fn);
  // false if the timer has been popped or removed already.
  bool remove(TimerId id);
  std::optional<TimePoint> earliest() const;
  // The callback of the earliest timer that is due at `now`; null if there is none.
  std::function<void()> pop_due(TimePoint now);
  size_t size() const { return heap_.size(); }

 private:
  struct Slot {
    TimePoint at;
    std::function<void()> fn;
    uint32_t position = 0;    // in heap_
    uint32_t generation = 1;  // a reused slot gets other ids
    bool used = false;
  };
  std::function<void()> take(uint32_t slot);
  void place(uint32_t position, uint32_t slot);
  void up(uint32_t position);
  void down(uint32_t position);
  bool before(uint32_t a, uint32_t b) const { return slots_[a].at < slots_[b].at; }

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> heap_;  // slot numbers; the earliest first
};

}  // namespace covey
