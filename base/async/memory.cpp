#include "base/async/memory.h"

#include <mutex>
#include <utility>

#include "base/core/check.h"

namespace covey {

// What leases and their share have in common: leases end on any thread.
struct MemoryLease::State : std::enable_shared_from_this<MemoryLease::State> {
  std::mutex mutex;
  Loop* loop = nullptr;  // null once the share is gone
  MemoryShare* share = nullptr;
  size_t returned = 0;   // not yet taken off the share's count
  bool awaited = false;  // somebody waits for it
  bool posted = false;

  void give_back(size_t bytes) {
    std::lock_guard lock(mutex);
    returned += bytes;
    if (!awaited || posted || loop == nullptr) return;
    posted = true;
    // Never from here: a lease may end in the middle of anything.
    loop->post([state = shared_from_this()] {
      if (state->share != nullptr) state->share->settle();
    });
  }
};

MemoryLease::MemoryLease(MemoryLease&& other) noexcept
    : state_(std::move(other.state_)), bytes_(std::exchange(other.bytes_, 0)) {}

MemoryLease& MemoryLease::operator=(MemoryLease&& other) noexcept {
  if (this == &other) return *this;
  shrink(0);
  state_ = std::move(other.state_);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

MemoryLease::~MemoryLease() { shrink(0); }

void MemoryLease::shrink(size_t bytes) {
  if (bytes >= bytes_) return;
  state_->give_back(bytes_ - bytes);
  bytes_ = bytes;
}

Blob leased(Blob blob, MemoryLease lease) {
  if (!lease) return blob;
  struct Held {
    MemoryLease lease;
    Blob bytes;
  };
  auto held = std::make_shared<const Held>(Held{std::move(lease), std::move(blob)});
  std::string_view view = held->bytes.view();
  return Blob(std::move(held), view);
}

MemoryShare::MemoryShare(Loop& loop, Clock& clock, size_t limit_bytes)
    : clock_(clock), limit_(limit_bytes), state_(std::make_shared<MemoryLease::State>()) {
  state_->loop = &loop;
  state_->share = this;
}

MemoryShare::~MemoryShare() {
  CHECK(waiters_.empty());
  std::lock_guard lock(state_->mutex);
  state_->loop = nullptr;
  state_->share = nullptr;
}

void MemoryShare::take_back() {
  std::lock_guard lock(state_->mutex);
  used_ -= std::exchange(state_->returned, 0);
}

// Grants what fits now, in order.
void MemoryShare::settle() {
  {
    std::lock_guard lock(state_->mutex);
    used_ -= std::exchange(state_->returned, 0);
    state_->posted = false;
    state_->awaited = !waiters_.empty();
  }
  std::list<Waiter*> granted;
  while (!waiters_.empty() && fits(waiters_.front()->bytes_)) {
    used_ += waiters_.front()->bytes_;
    waiters_.front()->granted_ = true;
    granted.splice(granted.end(), waiters_, waiters_.begin());
  }
  // A resumed coroutine may come back to this share.
  while (!granted.empty()) {
    Waiter* waiter = granted.front();
    granted.pop_front();
    waiter->done_.set();
  }
}

std::optional<MemoryLease> MemoryShare::try_acquire(size_t bytes) {
  take_back();
  if (!waiters_.empty() || !fits(bytes)) return std::nullopt;
  used_ += bytes;
  return MemoryLease(state_, bytes);
}

Task<Result<MemoryLease>> MemoryShare::acquire(size_t bytes, TimePoint deadline) {
  std::optional<MemoryLease> now = try_acquire(bytes);
  if (now) co_return std::move(*now);
  Waiter waiter(bytes);
  co_return co_await acquire(waiter, deadline);
}

Task<Result<MemoryLease>> MemoryShare::acquire(Waiter& waiter, TimePoint deadline) {
  waiter.since_ = clock_.now();
  waiters_.push_back(&waiter);
  settle();  // from here on leases that end call us
  bool ended = co_await waiter.done_.wait_until(clock_, deadline);
  if (!ended) {
    waiters_.remove(&waiter);
    settle();  // a smaller one behind it may fit
  }
  if (!waiter.granted_)
    co_return fail(ErrorCode::kOverloaded,
                   "too much data is under way on this node: try again, or raise memory_cap");
  co_return MemoryLease(state_, waiter.bytes_);
}

void MemoryShare::abandon(Waiter& waiter) {
  if (waiter.granted_ || waiter.done_.is_set()) return;
  waiters_.remove(&waiter);
  waiter.done_.set();  // the waiter may be gone after this
  settle();
}

void MemoryShare::set_limit(size_t limit_bytes) {
  limit_ = limit_bytes;
  settle();
}

size_t MemoryShare::used() {
  take_back();
  return used_;
}

Duration MemoryShare::longest_wait() const {
  if (waiters_.empty()) return Duration::zero();
  return clock_.now() - waiters_.front()->since_;
}

}  // namespace covey
