// Storage: everything between the node's own disks and the S3 API, put together in the order in
// which it depends on each other.
#pragma once

#include <memory>
#include <optional>

#include "base/async/runtime.h"
#include "base/core/level.h"
#include "node/config/config.h"
#include "node/identity/secrets.h"
#include "node/storage_mover.h"
#include "proto/peers.h"
#include "store/available/service.h"
#include "store/block/block_service.h"
#include "store/objects/key_users.h"
#include "store/objects/reclaim.h"
#include "store/objects/store.h"
#include "store/objects/tables.h"
#include "store/register/service.h"
#include "store/sync/block_repair.h"
#include "store/sync/orphans.h"
#include "store/sync/resync.h"
#include "store/sync/row_sync.h"
#include "store/sync/scrub.h"
#include "store/table/control_store.h"

namespace covey {

// Counts this start of the node, durably: the new number. Errors: kCorrupt, kNoSpace, kIo.
Task<Result<uint64_t>> count_start(Kv& kv);

// What no operator sets, but a simulation does, to see in minutes what takes days.
struct StorageTuning {
  uint64_t segment_bytes = kSegmentBytes;
  size_t align_from_bytes = kDirectBytesMin;
  Duration reclaim_pause = ReclaimSettings().pause;
  ResyncSettings resync;
};

class Storage {
 public:
  // Everything handed in outlives it. `boot` counts this node's starts.
  Storage(Runtime runtime, const Config& config, const SecretRing& secrets, Kv& kv, Peers& peers,
          Topology& topology, uint64_t boot, StorageTuning tuning = {});
  // REQUIRES: stop() has completed if open() was called.
  ~Storage();

  // Registers its handlers with the peers. Before they start. `fatal` is told once when a data disk
  // failed. Errors: kCorrupt, kNoSpace, kIo.
  Task<Status> open(std::function<void(const Error&)> fatal);
  // Moves what this node keeps when the layout changes.
  DataMover& mover() { return *mover_; }
  // What runs for long is to end soon: before those are joined who wait for it.
  void request_stop();
  // Begins what goes on in the background; the topology has a layout and the peers answer.
  void start();
  Task<void> stop();

  MemoryBudget& memory() { return memory_; }
  // Of everything below the gateway. REQUIRES: open() has succeeded.
  Levels levels();
  RegisterService& registers() { return *registers_; }
  AvailableRows& available() { return *available_; }
  ConflictLog& conflicts() { return conflicts_; }
  RowSync& row_sync() { return *row_sync_; }
  ControlStore& control() { return *control_; }
  BlockService& blocks() { return *blocks_; }
  BlockRepair& block_repair() { return *block_repair_; }
  Scrub& scrub() { return *scrub_; }
  KeyUsers& users() { return *users_; }
  ObjectStore& objects() { return *objects_; }
  // All zero before start().
  std::optional<TimePoint> compared(PartitionId partition) const {
    return resync_ ? resync_->compared(partition) : std::nullopt;
  }
  Resync::Progress resync_progress() const {
    return resync_ ? resync_->progress() : Resync::Progress();
  }
  Reclaimer::Progress reclaimed() const {
    return reclaimer_ ? reclaimer_->progress() : Reclaimer::Progress();
  }

 private:
  Task<Status> bring_blocks(PartitionId partition, TimePoint deadline);

  Runtime runtime_;
  const Config& config_;
  SecretRing secrets_;
  Kv& kv_;
  Peers& peers_;
  Topology& topology_;
  StorageTuning tuning_;
  MemoryBudget memory_;
  GarbageClock garbage_clock_;
  ConflictLog conflicts_;
  ObjectTables tables_;
  Scope scope_;
  std::unique_ptr<SegmentStore> segments_;
  std::unique_ptr<BlockService> blocks_;
  std::unique_ptr<BlockRepair> block_repair_;
  std::unique_ptr<Scrub> scrub_;
  std::unique_ptr<Orphans> orphans_;
  std::unique_ptr<RegisterService> registers_;
  std::unique_ptr<AvailableRows> available_;
  std::unique_ptr<RowSync> row_sync_;
  std::unique_ptr<ControlStore> control_;
  std::unique_ptr<StorageMover> mover_;
  std::unique_ptr<KeyUsers> users_;
  std::unique_ptr<Store> objects_;
  std::unique_ptr<Reclaimer> reclaimer_;
  std::unique_ptr<Resync> resync_;
  bool segments_open_ = false;
};

}  // namespace covey
