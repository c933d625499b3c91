// OsRng: a fast generator (xoshiro256++) seeded from the operating system. Not for keys. One per
// loop: it is not thread-safe.
#pragma once

#include <array>
#include <cstdint>

#include "base/async/rng.h"

namespace covey {

class OsRng final : public Rng {
 public:
  OsRng();
  uint64_t next() override;

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace covey
