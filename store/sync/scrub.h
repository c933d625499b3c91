// Scrub: reads and verifies every block of this node, partition by partition, slowly enough that a
// pass takes most of its interval and nobody notices, and lets each partition catch up with its
// other replicas. What is bad is set aside and fetched again (BlockService::wanted). The position
// is durable: a restart goes on where it was.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <optional>

#include "base/async/runtime.h"
#include "gossip/ring/topology.h"
#include "store/block/block_service.h"
#include "store/sync/block_repair.h"

namespace covey {

struct ScrubSettings {
  Duration interval = std::chrono::hours(24 * 7);  // from the start of a pass to that of the next
};

class Scrub {
 public:
  // Everything outlives it.
  Scrub(Runtime runtime, Kv& kv, const Topology& topology, BlockService& blocks,
        BlockRepair& repair, ScrubSettings settings);

  // Reads where it was. Errors: kCorrupt, kIo.
  Status open();
  // Passes until the scope stops.
  Task<void> run(Scope& scope);

  // Begins a pass from the start, at once and at full speed; also ends a pause.
  void start();
  // Until start() or pause(false), over restarts too.
  void pause(bool paused);

  struct Progress {
    bool running = false, paused = false;
    uint64_t passes = 0;                             // completed, ever
    uint64_t checked_blocks = 0, checked_bytes = 0;  // in this pass
    uint64_t total_bytes = 0;                        // to check, about
    uint64_t bad_blocks = 0;                         // found in this pass, or the last one
    WallTime started, finished;                      // of this pass, of the last; 0: never
  };
  Progress progress() const;

 private:
  struct State {  // durable
    bool paused = false, running = false, fast = false;
    uint64_t passes = 0, checked_blocks = 0, checked_bytes = 0, bad_blocks = 0;
    int64_t started_ms = 0, finished_ms = 0;
    PartitionId home = 0;         // under way
    std::optional<BlockId> done;  // of its blocks
  };

  static Result<State> decode(const std::string& value);
  bool due() const;
  void begin(bool fast);
  void keep();
  Task<void> check_partition(Scope& scope);
  Task<void> check_block(BlockKey key, uint32_t bytes);
  Task<void> wait(Scope& scope, uint64_t bytes, Duration took);
  Task<void> tidy(PartitionId home);

  Runtime runtime_;
  Kv& kv_;
  const Topology& topology_;
  BlockService& blocks_;
  BlockRepair& repair_;
  ScrubSettings settings_;
  State state_;
  uint64_t begun_ = 0;  // counts begin(): what was under way before ends itself
  Duration owed_{0};    // of sleep
  TimePoint kept_;
};

}  // namespace covey
