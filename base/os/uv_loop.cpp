#include "base/os/uv_loop.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>

#include "base/core/check.h"

namespace covey {

namespace {

// Per turn of the loop, so that posted work and timers never starve the sockets.
constexpr size_t kPostedPerTurn = 1024;
constexpr size_t kTimersPerTurn = 1024;

thread_local UvLoop* current_loop = nullptr;

template <class T>
UvLoop* owner(T* handle) {
  return static_cast<UvLoop*>(handle->data);
}

template <class T, class Init>
UvHandle<T> make_handle(UvLoop* self, Init init) {
  T* handle = new T;
  CHECK(init(handle) == 0);
  handle->data = self;
  return UvHandle<T>(handle);
}

}  // namespace

UvLoop* UvLoop::current() { return current_loop; }

UvLoop::UvLoop(std::string name) : name_(std::move(name)) {
  CHECK(uv_loop_init(&loop_) == 0);
  wake_ = make_handle<uv_async_t>(
      this, [this](uv_async_t* h) { return uv_async_init(&loop_, h, [](uv_async_t*) {}); });
  before_ = make_handle<uv_prepare_t>(
      this, [this](uv_prepare_t* h) { return uv_prepare_init(&loop_, h); });
  after_ =
      make_handle<uv_check_t>(this, [this](uv_check_t* h) { return uv_check_init(&loop_, h); });
  busy_ = make_handle<uv_idle_t>(this, [this](uv_idle_t* h) { return uv_idle_init(&loop_, h); });
  timer_ =
      make_handle<uv_timer_t>(this, [this](uv_timer_t* h) { return uv_timer_init(&loop_, h); });
  uv_prepare_start(before_.get(), [](uv_prepare_t* h) { owner(h)->drain(); });
  uv_check_start(after_.get(), [](uv_check_t* h) {
    owner(h)->sleeping_.store(false, std::memory_order_relaxed);
  });
}

UvLoop::~UvLoop() {
  join();
  // Functions left over may own handles: they go while the loop still exists.
  running_.clear();
  posted_.clear();
  timers_ = TimerHeap();
  wake_.reset(), before_.reset(), after_.reset(), busy_.reset(), timer_.reset();
  uv_run(&loop_, UV_RUN_NOWAIT);  // the close callbacks
  CHECK(uv_loop_close(&loop_) == 0);
}

void UvLoop::start() {
  CHECK(!thread_.joinable());
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
    run();
  });
}

void UvLoop::run() {
  CHECK(current_loop == nullptr);
  current_loop = this;
  uv_run(&loop_, UV_RUN_DEFAULT);
  current_loop = nullptr;
}

void UvLoop::stop() {
  post([this] { uv_stop(&loop_); });
}

void UvLoop::join() {
  if (!thread_.joinable()) return;
  CHECK(!on_loop_thread());
  stop();
  thread_.join();
}

void UvLoop::post(std::function<void()> fn) {
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(fn));
  }
  if (sleeping_.load() && sleeping_.exchange(false)) uv_async_send(wake_.get());
}

void UvLoop::drain() {
  if (next_ == running_.size()) {
    running_.clear();
    next_ = 0;
    std::lock_guard lock(mutex_);
    running_.swap(posted_);
  }
  size_t end = std::min(running_.size(), next_ + kPostedPerTurn);
  while (next_ < end) std::exchange(running_[next_++], nullptr)();
  bool more = next_ < running_.size();
  if (!more) {
    std::lock_guard lock(mutex_);
    more = !posted_.empty();
    if (!more) sleeping_.store(true);
  }
  // Starting or stopping it again costs nothing.
  if (more) {
    uv_idle_start(busy_.get(), [](uv_idle_t*) {});
  } else {
    uv_idle_stop(busy_.get());
  }
}

TimePoint UvLoop::now() const { return {static_cast<int64_t>(uv_hrtime())}; }

WallTime UvLoop::wall_now() const {
  timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return {static_cast<int64_t>(ts.tv_sec) * 1000 + ts.tv_nsec / 1'000'000};
}

TimerId UvLoop::schedule(TimePoint at, std::function<void()> fn) {
  TimerId id = timers_.add(at, std::move(fn));
  if (!armed_ || at < *armed_) arm(at);
  return id;
}

void UvLoop::arm(TimePoint at) {
  armed_ = at;
  // Both clocks are CLOCK_MONOTONIC; round up so that the timer is due when it fires.
  int64_t due_ms = at.ns / 1'000'000 + 1;
  int64_t wait_ms = std::max<int64_t>(0, due_ms - static_cast<int64_t>(uv_now(&loop_)));
  uv_timer_start(
      timer_.get(), [](uv_timer_t* h) { owner(h)->fire(); }, static_cast<uint64_t>(wait_ms), 0);
}

void UvLoop::fire() {
  armed_.reset();
  TimePoint due = now();
  for (size_t i = 0; i < kTimersPerTurn; ++i) {
    std::function<void()> fn = timers_.pop_due(due);
    if (!fn) break;
    fn();
  }
  auto next = timers_.earliest();
  if (next && (!armed_ || *next < *armed_)) arm(*next);
}

namespace detail {

namespace {

struct Done {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
};

Task<void> then_signal(UvLoop& loop, Task<void> task, Done& done) {
  co_await std::move(task);
  bool own_thread = loop.has_thread();
  if (!own_thread) loop.stop();
  std::lock_guard lock(done.mutex);
  done.done = true;
  done.changed.notify_all();
}

}  // namespace

void run_blocking(UvLoop& loop, Task<void> task) {
  CHECK(UvLoop::current() == nullptr);
  Scope scope;
  Done done;
  Task<void> wrapped = then_signal(loop, std::move(task), done);
  loop.post([&] { scope.spawn(std::move(wrapped)); });
  if (!loop.has_thread()) {
    while (!done.done) loop.run();
  } else {
    {
      std::unique_lock lock(done.mutex);
      done.changed.wait(lock, [&] { return done.done; });
    }
    // The scope's own last steps run on the loop after the signal: wait for that turn to end.
    std::unique_lock lock(done.mutex);
    done.done = false;
    loop.post([&] {
      std::lock_guard inner(done.mutex);
      done.done = true;
      done.changed.notify_all();
    });
    done.changed.wait(lock, [&] { return done.done; });
  }
}

}  // namespace detail

}  // namespace covey
