// Load: writers that do what the layers above do with the two stores, and take notes. An object is
// a block or two, durable before the row that names them; to replace or delete one is to write the
// row, then to drop the blocks.
#pragma once

#include <functional>

#include "tests/crash/expected.h"
#include "tests/crash/local_store.h"

namespace covey {

struct Load {
  LocalStore& store;
  Expected& expected;
  std::function<At()> now;  // the position in the record
  size_t writers = 3;
  size_t names = 5;          // of each writer
  size_t rounds = 12;        // of each writer
  uint64_t run = 0;          // tells the block ids of several loads apart
  bool may_be_full = false;  // then a write may also be refused for want of space
  // The first answer that should not have come: anything but success or 'not now'.
  std::optional<Error> trouble;
};

// Runs until every writer is done.
void run_load(Load& load);

}  // namespace covey
