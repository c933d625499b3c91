// MemoryBudget: how a process divides memory_cap. What is not given out here is for everything that
// does not grow with the bytes under way: tables of the metadata store (24 MiB), connections,
// gRPC's buffers, and what the allocator keeps.
//
// Who waits for what, so that no ring of waits closes between nodes: a client's body waits for its
// copies at the peers; a copy that came from a peer waits for this node's disk only. So copies have
// a share that no body draws from. A sender keeps to its part of the receiver's share (1 / number
// of the other members), which holds as long as all nodes have the same memory_cap; a receiver with
// less lets copies wait a little and then refuses them.
#pragma once

#include "base/async/memory.h"

namespace covey {

struct MemoryBudget {
  // Larger bodies are read block by block, small ones never queue behind them.
  static constexpr size_t kSmallBodyBytes = 64 * 1024;

  MemoryBudget(Loop& loop, Clock& clock, uint64_t cap_bytes)
      : bodies(loop, clock, 0),
        small_bodies(loop, clock, 0),
        copies(loop, clock, 0),
        reads(loop, clock, 0) {
    set_cap(cap_bytes);
  }

  void set_cap(uint64_t cap_bytes) {
    bodies.set_limit(part(cap_bytes, 6));
    small_bodies.set_limit(part(cap_bytes, 1));
    copies.set_limit(part(cap_bytes, 3));
    reads.set_limit(part(cap_bytes, 2));
  }
  MemoryShare& body_share(int64_t declared_bytes) {
    bool small = declared_bytes >= 0 && declared_bytes <= static_cast<int64_t>(kSmallBodyBytes);
    return small ? small_bodies : bodies;
  }

  // Bodies from clients: from before a block is read until its last copy is written or given up.
  MemoryShare bodies, small_bodies;
  MemoryShare copies;  // blocks from peers, until they are written
  MemoryShare reads;   // blocks read ahead of what a client has taken

 private:
  static size_t part(uint64_t cap_bytes, uint64_t sixteenths) {
    return static_cast<size_t>(cap_bytes / 16 * sixteenths);
  }
};

}  // namespace covey
