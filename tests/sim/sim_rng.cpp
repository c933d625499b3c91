#include "tests/sim/sim_rng.h"

namespace covey {

uint64_t SimRng::next() {
  state_ += 0x9e3779b97f4a7c15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

SimRng SimRng::split(std::string_view label) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : label) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return SimRng(next() ^ hash);
}

}  // namespace covey
