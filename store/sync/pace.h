// Pace: how many transfers may be under way at once, by the latency they show. More while they are
// about as fast as the fastest, fewer and with pauses when they slow down: then foreground requests
// (or a slow link) need the room. Additive increase, multiplicative decrease. Pure.
#pragma once

#include <algorithm>

#include "base/async/clock.h"

namespace covey {

class Pace {
 public:
  explicit Pace(size_t window_max) : window_max_(static_cast<double>(window_max)) {}

  size_t window() const { return static_cast<size_t>(window_); }
  // To wait before the next transfer. Bounded: after transfers that timed out it would otherwise be
  // longer than a caller has time for, and without a transfer nothing would shorten it again.
  Duration pause() const {
    return slow() && window_ < 2 ? std::min(smoothed_, kPauseMax) : Duration::zero();
  }

  void finished(Duration took) {
    smoothed_ = smoothed_ == Duration::zero() ? took : (7 * smoothed_ + took) / 8;
    best_ = best_ == Duration::zero() ? took : std::min(best_ + best_ / kBestAges, took);
    window_ = slow() ? std::max(1.0, window_ / 2) : std::min(window_max_, window_ + 0.25);
  }

 private:
  static constexpr int kSlowFactor = 4;  // times the fastest
  static constexpr int kBestAges = 64;   // the fastest is forgotten slowly: links change
  static constexpr Duration kNeverSlow = std::chrono::milliseconds(20);
  static constexpr Duration kPauseMax = std::chrono::seconds(1);

  bool slow() const { return smoothed_ > kNeverSlow && smoothed_ > kSlowFactor * best_; }

  double window_max_, window_ = 1;
  Duration smoothed_{0}, best_{0};
};

}  // namespace covey
