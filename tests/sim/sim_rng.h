// SimRng: a seeded generator (splitmix64). The same seed gives the same run.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/async/rng.h"

namespace covey {

class SimRng : public Rng {
 public:
  explicit SimRng(uint64_t seed) : state_(seed) {}
  uint64_t next() override;
  // A generator of its own, so that drawing from one part does not change another part's run.
  SimRng split(std::string_view label);

 private:
  uint64_t state_;
};

}  // namespace covey
