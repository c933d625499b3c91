// What must hold of a store that was opened after a crash.
#pragma once

#include <map>
#include <string>

#include "tests/crash/expected.h"
#include "tests/crash/local_store.h"

namespace covey {

// The stamps of the rows that are there.
using Seen = std::map<std::string, uint64_t>;

// Empty: all is well; else what is wrong. `crash`: what was acknowledged before it counts.
std::string check_store(LocalStore& store, const Expected& expected, At crash, Seen& seen);

// From now on what is there is what was seen: it was shown to clients.
void settle(Expected& expected, LocalStore& store, const Seen& seen, At now);

}  // namespace covey
