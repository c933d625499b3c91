#include "base/os/os_rng.h"

#include <sodium.h>

#include <bit>

namespace covey {

OsRng::OsRng() {
  CHECK(sodium_init() >= 0);
  randombytes_buf(state_.data(), sizeof state_);
  state_[0] |= 1;  // never all zeros
}

uint64_t OsRng::next() {
  auto& s = state_;
  uint64_t result = std::rotl(s[0] + s[3], 23) + s[0];
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = std::rotl(s[3], 45);
  return result;
}

}  // namespace covey
