// Verifier: has all of the metadata that is folded read and checked from time to time (Kv::verify),
// so that a page which rots while the node runs, and hides rows without an error, is found within
// about one interval. Each pass begins anew: it checks one state of the store, as a reader keeps
// it, and there is nothing to resume in another state. What it finds Kv tells to its owner.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <string>

#include "base/async/event.h"
#include "base/async/runtime.h"
#include "base/core/limits.h"
#include "store/meta/kv.h"

namespace covey {

struct VerifierSettings {
  Duration interval = std::chrono::hours(1);  // from the start of a pass to that of the next
  Duration retry = std::chrono::minutes(1);   // after one that was interrupted
  // A pass reads this fast, or faster where it would take most of its interval, up to the maximum.
  uint64_t bytes_per_second = 8 * kMiB, bytes_per_second_max = 64 * kMiB;
  // Its size says how much there is to read; empty: nothing is known of that.
  std::string file;
  WallTime verified;  // everything was checked then, before the store was opened; 0: never
};

class Verifier {
 public:
  // Everything outlives it.
  Verifier(Runtime runtime, Kv& kv, VerifierSettings settings);

  // Passes until the scope stops.
  Task<void> run(Scope& scope);
  // One pass; joins the one under way. Errors: kCorrupt, kOverloaded (try again), kIo.
  Task<Status> pass();
  // Has run() begin a pass soon, as fast as one may be.
  void ask() { asked_ = true; }

  struct Progress {
    bool running = false;  // or asked for
    uint64_t passes = 0;   // completed since the start
    // What was damaged before this time has been found; 0: nothing was checked yet.
    WallTime verified;
    Duration took{0};     // the last one
    std::string trouble;  // why the last one did not complete; for people
  };
  Progress progress() const;

 private:
  bool due() const;
  Task<uint64_t> pace();

  Runtime runtime_;
  Kv& kv_;
  VerifierSettings settings_;
  TimePoint next_;  // pass
  bool running_ = false, asked_ = false;
  Status last_;  // outcome, for those who joined
  Event ended_;
  uint64_t passes_ = 0;
  WallTime verified_;
  Duration took_{0};
};

}  // namespace covey
