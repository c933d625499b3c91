// Ballots and ranks (register.md): who may write a partition, and the order of a key's rows.
#pragma once

#include <compare>
#include <cstdint>

#include "base/core/codec.h"
#include "base/core/ids.h"

namespace covey {

// Ordered by its members. No two attempts to take a partition over have the same ballot: the
// counter rises within one boot of a node, the boot epoch (synced before use) between boots.
struct Ballot {
  uint32_t epoch = 0;  // of the layout
  uint64_t counter = 0;
  uint64_t node = 0;  // node_tag() of the holder
  uint32_t boot = 0;
  auto operator<=>(const Ballot&) const = default;
};

// One rank names one row for ever. The zero rank is that of a missing key.
struct Rank {
  Ballot ballot;
  uint64_t seq = 0;  // counts up within one holder of the ballot
  auto operator<=>(const Rank&) const = default;
};
// The highest rank that is lower; the zero rank if there is none under its ballot.
inline Rank below(const Rank& rank) {
  return rank.seq > 0 ? Rank{rank.ballot, rank.seq - 1} : Rank{};
}

// The first 8 bytes of a node id (a public key, so uniformly distributed) hashed with XXH3. Two
// members with one tag would be able to make one ballot; among 256 nodes that is a chance of 2^-49.
uint64_t node_tag(const NodeId& id);

inline void write_ballot(Writer& w, const Ballot& b) {
  w.varint(b.epoch), w.varint(b.counter), w.u64(b.node), w.varint(b.boot);
}
inline Ballot read_ballot(Reader& r) {
  Ballot b;
  b.epoch = static_cast<uint32_t>(r.varint());
  b.counter = r.varint();
  b.node = r.u64();
  b.boot = static_cast<uint32_t>(r.varint());
  return b;
}
inline void write_rank(Writer& w, const Rank& rank) {
  write_ballot(w, rank.ballot), w.varint(rank.seq);
}
inline Rank read_rank(Reader& r) {
  Rank rank;
  rank.ballot = read_ballot(r);
  rank.seq = r.varint();
  return rank;
}

}  // namespace covey
