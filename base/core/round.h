// Rounding to multiples, as files and disks want it.
#pragma once

#include <cstdint>

namespace covey {

constexpr uint64_t round_down(uint64_t n, uint64_t multiple) { return n / multiple * multiple; }
constexpr uint64_t round_up(uint64_t n, uint64_t multiple) {
  return round_down(n + multiple - 1, multiple);
}

}  // namespace covey
