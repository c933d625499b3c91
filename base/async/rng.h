// Randomness, handed in so that a simulation's seed fixes it. Keys and secrets come from libsodium,
// not from here.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/core/check.h"

namespace covey {

class Rng {
 public:
  virtual ~Rng() = default;
  virtual uint64_t next() = 0;

  // Uniform in [0, bound). REQUIRES: bound > 0. (The bias of the modulo is below 2^-32 for the
  // bounds used here.)
  uint64_t below(uint64_t bound) {
    CHECK(bound > 0);
    return next() % bound;
  }
  // true with probability `p`.
  bool chance(double p) { return static_cast<double>(next() >> 11) * 0x1p-53 < p; }

  template <class Id>
  Id id() {
    Id id;
    for (size_t i = 0; i < Id::kSize; i += 8) {
      uint64_t word = next();
      std::memcpy(id.bytes.data() + i, &word, Id::kSize - i < 8 ? Id::kSize - i : 8);
    }
    return id;
  }
};

}  // namespace covey
