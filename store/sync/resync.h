// Resync: decides when partitions are compared. At start, when a peer comes back, when others
// speak of rows that this node does not have, and from time to time.
//
// Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/async/runtime.h"
#include "store/sync/row_sync.h"
#include "store/table/control_store.h"

namespace covey {

struct ResyncSettings {
  Duration tick = std::chrono::seconds(1);
  // A whole comparison with all replicas, and the collection of tombstones.
  Duration every = std::chrono::minutes(10);
  // Rows that others said are committed are waited for that long before they are pulled.
  Duration missed_after = std::chrono::seconds(2);
  Duration retry = std::chrono::seconds(5);
  Duration work = std::chrono::seconds(120);  // on one partition, before another gets its turn
  size_t at_once = 2;                         // partitions
  // After a layout, or a start. What a node gives up it lets go of earlier, and remembers
  // (node/cluster/mover.h): this is for what nobody remembers, as after metadata was rebuilt.
  Duration purge_after = std::chrono::seconds(60);
};

class Resync {
 public:
  // Everything outlives it.
  Resync(Runtime runtime, Kv& kv, RowSync& rows, RegisterService& registers, ControlStore& control,
         const Topology& topology, ResyncSettings settings = {});

  // What else has to be brought over, let go or is held of a partition (blocks). Before run(). May
  // be empty.
  std::function<Task<Status>(PartitionId, TimePoint)> also_catch_up;
  std::function<Task<Status>(PartitionId, TimePoint)> also_purge;
  std::function<bool(PartitionId)> also_holds;

  // Until the scope stops; what it spawned has ended when it returns.
  Task<void> run(Scope& scope);

  struct Progress {
    uint64_t partitions = 0;  // that this node replicates
    uint64_t behind = 0;      // of these, not known to be up to date since the last disturbance
    uint64_t rows_left = 0;   // known to be lacking here
    uint64_t to_purge = 0;    // partitions that this node left, and still holds something of
    std::string why;          // why the last attempt on one that is behind failed; empty: none did
  };
  Progress progress() const;
  // When this node last compared the partition with all its replicas and had everything; nullopt:
  // not since it started.
  std::optional<TimePoint> compared(PartitionId partition) const;

 private:
  struct State {
    bool behind = true;  // not proven to be up to date since the start or a peer's return
    bool due = true;     // may be set again while it is worked on
    bool running = false;
    bool also = true;        // blocks have to be compared too
    uint64_t disturbed = 0;  // how often a peer came back: what was compared before may be old
    uint64_t left = 0;
    std::string why;  // the last attempt failed
    TimePoint not_before;
    TimePoint compared;  // with all replicas
  };
  void follow_layout();
  void follow_peers();
  Task<void> sync_control(NodeId node);
  Task<void> bring_missed();
  Task<void> compare_roots();
  std::optional<PartitionId> next_due() const;
  Task<void> worker();
  Task<void> work(PartitionId partition);
  Task<void> purge_left();
  bool replica_of(PartitionId partition) const;
  bool holds_any(PartitionId partition) const;

  Runtime runtime_;
  Kv& kv_;
  RowSync& rows_;
  RegisterService& registers_;
  ControlStore& control_;
  const Topology& topology_;
  ResyncSettings settings_;
  uint32_t epoch_ = 0;
  TimePoint adopted_;  // that epoch
  std::map<PartitionId, State> states_;
  std::set<PartitionId> left_;  // no replica of these any more
  std::set<NodeId> alive_;
  std::vector<CommitNotice> missed_;
  TimePoint missed_since_;
  size_t running_ = 0;
  Scope work_;
};

}  // namespace covey
