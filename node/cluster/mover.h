// Mover: this node's own part in a change of the layout, and the purge of what it no longer is a
// replica of. It works through partitions with a few at a time, retries for ever with backoff, and
// keeps durably what is done, so that a crash costs at most the work under way.
//
// Loop thread only.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/async/event.h"
#include "base/async/runtime.h"
#include "base/async/scope.h"
#include "gossip/ring/topology.h"
#include "node/cluster/change.h"
#include "node/cluster/data_mover.h"
#include "node/cluster/layout_store.h"

namespace covey {

inline constexpr size_t kMovesAtOnce = 8;
// One call; what is not done then goes on with the next. Stopping the node waits for calls.
inline constexpr Duration kRowsWithin = std::chrono::seconds(60);
inline constexpr Duration kBlocksWithin = std::chrono::seconds(10);
inline constexpr Duration kMoveRetryMin = std::chrono::milliseconds(300);
inline constexpr Duration kMoveRetryMax = std::chrono::seconds(20);
// The next replica in line settles a partition whose holder has not done it for so long.
inline constexpr Duration kSettlePatience = std::chrono::seconds(60);
// Reads that began under the layout before may still want blocks from a node that left.
inline constexpr Duration kPurgeAfter = std::chrono::seconds(20);

class Mover {
 public:
  Mover(Runtime runtime, Kv& kv, const Topology& topology)
      : runtime_(runtime), kv_(kv), topology_(topology) {}
  // Before run(). It outlives this object.
  void use(DataMover& data) { data_ = &data; }
  DataMover* data() { return data_; }

  // Before a state is adopted under which this node becomes a replica of these: they start empty.
  Task<Status> enter(std::vector<PartitionId> partitions);
  // A state was adopted (or read at start). Errors: kCorrupt, kIo.
  Status adopted(const LayoutState& state);
  // Something may have to be done: call when an adopted state has become visible.
  void wake() { wake_.set(); }
  // What the leader knows.
  void hear(const ChangeView& view);
  NodeReport report() const;
  // Partitions this node has left and not purged yet.
  size_t leaving() const { return leaving_.size(); }
  // The leader's newest view of the change under way; nullptr: none, or nothing heard of it yet.
  const ChangeView* view() const { return view_.epoch == epoch_ && joint_ ? &view_ : nullptr; }

  // Works until the scope stops.
  void start(Scope& scope);

 private:
  enum class Kind : uint8_t { kControl, kRows, kSettle, kBlocks, kPurge };
  struct Job {
    Kind kind = Kind::kRows;
    PartitionId partition = 0;
    auto operator<=>(const Job&) const = default;
  };
  struct Retry {
    TimePoint at;
    Duration pause{0};
  };

  Task<void> work(Scope& scope);
  bool take(Job& job);
  bool ready(const Job& job) const;
  bool mine_to_settle(PartitionId partition) const;
  Task<Status> execute(Job job);
  Task<Status> finish(Job job, uint32_t epoch);
  void failed(const Job& job, const Error& error);

  Runtime runtime_;
  Kv& kv_;
  const Topology& topology_;
  DataMover* data_ = nullptr;

  std::shared_ptr<const LayoutState> state_;
  uint32_t epoch_ = 0;
  bool joint_ = false;
  TimePoint adopted_at_;
  bool control_ = false;
  std::vector<uint8_t> flags_;          // per partition; durable
  std::vector<uint8_t> kept_;           // the same with what is being stored
  std::vector<PartitionId> to_pull_;    // this node is a next replica, and the set changes
  std::vector<PartitionId> to_settle_;  // the set changes and this node is a replica
  PartitionSet leaving_;
  PartitionSet entering_;  // between enter() and adopted(): not to be purged any more
  ChangeView view_;
  std::string error_;
  std::set<Job> running_;
  std::map<Job, Retry> retries_;
  Event wake_;
};

}  // namespace covey
