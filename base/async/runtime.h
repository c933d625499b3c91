// What an orchestrating object needs from outside, in one parameter. Everything referred to
// outlives its users.
#pragma once

#include "base/async/clock.h"
#include "base/async/disk.h"
#include "base/async/event.h"
#include "base/async/loop.h"
#include "base/async/rng.h"
#include "base/async/scope.h"
#include "base/async/task.h"

namespace covey {

struct Runtime {
  Loop& loop;
  Clock& clock;
  Rng& rng;
  Pool& cpu;  // hashing, erasure coding, compression
  Disk& disk;
};

}  // namespace covey
