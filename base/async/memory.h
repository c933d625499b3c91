// MemoryShare: how much one kind of data may hold in memory. Whoever brings data takes a lease
// before there are bytes, and the lease stays with them (`leased`) for as long as anybody holds
// them: the hash, the disk, a copy on its way to a slow peer. So the sum keeps its limit by
// construction, and where it is reached a client is paced: nothing more is read from its socket.
//
// Nobody deadlocks who waits for a lease while holding others only for data that is whole, since
// that moves on without him. Shares whose holders wait for each other (node A's bodies for copies
// at node B, B's for A) must be different ones: see MemoryBudget.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>

#include "base/async/clock.h"
#include "base/async/event.h"
#include "base/async/loop.h"
#include "base/async/task.h"
#include "base/core/blob.h"
#include "base/core/result.h"

namespace covey {

class MemoryShare;

// Part of a share, until it is destroyed; on any thread.
class MemoryLease {
 public:
  MemoryLease() = default;
  MemoryLease(MemoryLease&& other) noexcept;
  MemoryLease& operator=(MemoryLease&& other) noexcept;
  ~MemoryLease();

  size_t bytes() const { return bytes_; }
  explicit operator bool() const { return bytes_ > 0; }
  // Gives back what is above `bytes`.
  void shrink(size_t bytes);

 private:
  friend class MemoryShare;
  struct State;
  MemoryLease(std::shared_ptr<State> state, size_t bytes)
      : state_(std::move(state)), bytes_(bytes) {}
  std::shared_ptr<State> state_;
  size_t bytes_ = 0;
};

// The same bytes; the lease ends with the last that refers to them.
Blob leased(Blob blob, MemoryLease lease);

// Loop thread only; leases may end anywhere.
class MemoryShare {
 public:
  // One who waits; lives in the frame that called acquire().
  class Waiter {
   public:
    explicit Waiter(size_t bytes) : bytes_(bytes) {}

   private:
    friend class MemoryShare;
    size_t bytes_;
    TimePoint since_;
    bool granted_ = false;
    Event done_;
  };

  MemoryShare(Loop& loop, Clock& clock, size_t limit_bytes);
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;
  // REQUIRES: nobody waits. Leases may outlive it.
  ~MemoryShare();

  // In the order of the calls. What is larger than the limit gets it when nobody else holds
  // anything. Errors: kOverloaded at the deadline, or when `abandon` was called.
  Task<Result<MemoryLease>> acquire(size_t bytes, TimePoint deadline);
  Task<Result<MemoryLease>> acquire(Waiter& waiter, TimePoint deadline);
  // Ends the wait of one who waits, or does nothing.
  void abandon(Waiter& waiter);
  // Without waiting; nullopt if it does not fit or others wait.
  std::optional<MemoryLease> try_acquire(size_t bytes);

  // Takes effect as leases end.
  void set_limit(size_t limit_bytes);
  size_t limit() const { return limit_; }
  size_t used();
  size_t waiting() const { return waiters_.size(); }
  // Of who has waited longest; zero if nobody waits.
  Duration longest_wait() const;

 private:
  friend struct MemoryLease::State;
  bool fits(size_t bytes) const { return used_ == 0 || used_ + bytes <= limit_; }
  void take_back();
  void settle();

  Clock& clock_;
  size_t limit_;
  size_t used_ = 0;  // as of the last take_back()
  std::list<Waiter*> waiters_;
  std::shared_ptr<MemoryLease::State> state_;
};

}  // namespace covey
