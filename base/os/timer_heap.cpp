#include "base/os/timer_heap.h"

#include <utility>

namespace covey {

TimerId TimerHeap::add(TimePoint at, std::function<void()> fn) {
  uint32_t slot;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  slots_[slot].at = at;
  slots_[slot].fn = std::move(fn);
  slots_[slot].used = true;
  heap_.push_back(slot);
  place(static_cast<uint32_t>(heap_.size() - 1), slot);
  up(static_cast<uint32_t>(heap_.size() - 1));
  return static_cast<TimerId>(slots_[slot].generation) << 32 | slot;
}

bool TimerHeap::remove(TimerId id) {
  auto slot = static_cast<uint32_t>(id);
  if (slot >= slots_.size() || !slots_[slot].used || slots_[slot].generation != id >> 32)
    return false;
  take(slot);
  return true;
}

std::optional<TimePoint> TimerHeap::earliest() const {
  if (heap_.empty()) return std::nullopt;
  return slots_[heap_.front()].at;
}

std::function<void()> TimerHeap::pop_due(TimePoint now) {
  if (heap_.empty() || now < slots_[heap_.front()].at) return nullptr;
  return take(heap_.front());
}

std::function<void()> TimerHeap::take(uint32_t slot) {
  uint32_t position = slots_[slot].position;
  uint32_t last = heap_.back();
  heap_.pop_back();
  if (last != slot) {
    place(position, last);
    up(position);
    down(slots_[last].position);
  }
  slots_[slot].used = false;
  ++slots_[slot].generation;
  free_.push_back(slot);
  return std::exchange(slots_[slot].fn, nullptr);
}

void TimerHeap::place(uint32_t position, uint32_t slot) {
  heap_[position] = slot;
  slots_[slot].position = position;
}

void TimerHeap::up(uint32_t position) {
  while (position > 0) {
    uint32_t parent = (position - 1) / 2;
    if (!before(heap_[position], heap_[parent])) return;
    uint32_t moved = heap_[parent];
    place(parent, heap_[position]);
    place(position, moved);
    position = parent;
  }
}

void TimerHeap::down(uint32_t position) {
  for (;;) {
    uint32_t child = 2 * position + 1;
    if (child >= heap_.size()) return;
    if (child + 1 < heap_.size() && before(heap_[child + 1], heap_[child])) ++child;
    if (!before(heap_[child], heap_[position])) return;
    uint32_t moved = heap_[child];
    place(child, heap_[position]);
    place(position, moved);
    position = child;
  }
}

}  // namespace covey
