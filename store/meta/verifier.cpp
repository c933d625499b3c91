#include "store/meta/verifier.h"

#include <algorithm>
#include <utility>

#include "base/core/log.h"

namespace covey {
namespace {

constexpr Duration kTick = std::chrono::milliseconds(500);
// A pass takes at most this part of its interval, as far as the fastest pace allows.
constexpr double kPartOfInterval = 0.5;

}  // namespace

Verifier::Verifier(Runtime runtime, Kv& kv, VerifierSettings settings)
    : runtime_(runtime),
      kv_(kv),
      settings_(std::move(settings)),
      next_(runtime.clock.after(settings_.interval)),
      verified_(settings_.verified) {}

bool Verifier::due() const { return asked_ || runtime_.clock.now() >= next_; }

// Bytes per second.
Task<uint64_t> Verifier::pace() {
  if (asked_) co_return settings_.bytes_per_second_max;
  if (settings_.file.empty()) co_return settings_.bytes_per_second;
  auto file = co_await runtime_.disk.open(settings_.file, Disk::Open::kRead);
  uint64_t bytes = file ? (*file)->size() : 0;
  double within = std::chrono::duration<double>(settings_.interval).count() * kPartOfInterval;
  auto wanted = static_cast<uint64_t>(static_cast<double>(bytes) / std::max(within, 1.0));
  co_return std::clamp(wanted, settings_.bytes_per_second, settings_.bytes_per_second_max);
}

Task<Status> Verifier::pass() {
  if (running_) {
    while (running_) {
      ended_.reset();
      co_await ended_.wait();
    }
    co_return last_;
  }
  running_ = true;
  const TimePoint begun = runtime_.clock.now();
  const WallTime begun_at = runtime_.clock.wall_now();
  const uint64_t bytes_per_second = co_await pace();
  asked_ = false;
  last_ = co_await kv_.verify(bytes_per_second);
  next_ = last_.is(ErrorCode::kOverloaded) ? runtime_.clock.after(settings_.retry)
                                           : begun + settings_.interval;
  if (last_) {
    ++passes_;
    verified_ = begun_at;
    took_ = runtime_.clock.now() - begun;
  }
  running_ = false;
  Status done = last_;
  ended_.set();
  co_return done;
}

Task<void> Verifier::run(Scope& scope) {
  bool go_on = true;
  while (go_on) {
    if (due() && !running_) {
      Status done = co_await pass();
      if (!done && !scope.stop_requested())
        log_warn("the check of the metadata did not complete: {}", done.error().message);
    }
    go_on = co_await scope.sleep(runtime_.clock, kTick);
  }
}

Verifier::Progress Verifier::progress() const {
  Progress progress;
  progress.running = running_ || asked_;
  progress.passes = passes_;
  progress.verified = verified_;
  progress.took = took_;
  if (!last_) progress.trouble = last_.error().message;
  return progress;
}

}  // namespace covey
