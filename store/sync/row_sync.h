// RowSync: replicas of a partition bring each other's metadata rows up to date (anti-entropy;
// register.md "Merge", "Layout change").
//
// Each replica pulls what it lacks. It compares ranges of its rows with every other replica
// (merkle.h), lists the ranges that differ and takes over the committed rows that are newer there,
// with the attachments they need, durably, in one batch. A row that nobody knows to be committed is
// never taken over: the partition's holder is asked to write it again. So is a row that a floor
// keeps out. Buckets' fences travel likewise and join by maximum.
//
// Loop thread only. Memory is bounded by a page per partition being compared.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "gossip/ring/topology.h"
#include "proto/peers.h"
#include "store/register/service.h"
#include "store/sync/partition_walk.h"
#include "store/sync/sync_messages.h"

namespace covey {

inline constexpr size_t kSyncPageRows = 2048;   // own rows in one comparison
inline constexpr size_t kSyncWalkRows = 1024;   // walked without letting others run
inline constexpr int kSyncRoundsMax = 6;        // until nothing is left to settle
inline constexpr size_t kUnsettledMax = 16384;  // rows remembered for the holder, per catch-up
inline constexpr size_t kSettlesAtOnce = 16;    // keys
inline constexpr Duration kSyncStep = std::chrono::seconds(5);  // one message

// What is left until `deadline`, less a little, for who is asked to work until then.
uint32_t budget_until(TimePoint now, TimePoint deadline);

struct RowSyncReport {
  PartitionId partition = 0;
  uint32_t epoch = 0;
  uint64_t peers = 0;        // other replicas
  uint64_t peers_done = 0;   // compared to the end, in the last round
  uint64_t rows_pulled = 0;  // rows and fences
  uint64_t attachments_pulled = 0;
  uint64_t bytes_pulled = 0;
  uint64_t flagged = 0;  // rows learnt to be committed
  uint64_t settled = 0;  // rows that the holder was asked to settle, and did
  uint64_t left = 0;     // rows that could not be brought over
  std::string why;       // why one was not, or a replica not compared; not told to other nodes
  // This replica and those it has compared with are a quorum (of both sets while joint): it has
  // every row that was chosen before.
  bool quorum = false;
  // Likewise with every other replica.
  bool complete() const { return peers_done == peers && left == 0; }
  // At least as good as a replica that was never away.
  bool caught_up() const { return quorum && left == 0; }
};

struct SettleReport {
  PartitionId partition = 0;
  uint32_t epoch = 0;    // under which the partition is settled
  uint64_t rows = 0;     // looked at one by one
  uint64_t settled = 0;  // written again, or found on a quorum after all
  uint64_t left = 0;     // could not be: not settled
  bool done = false;
};

class RowSync final : public PeerHandler {
 public:
  // Everything outlives it. The caller registers it: peers.serve(PeerService::kSync, *this).
  RowSync(Runtime runtime, Kv& kv, RegisterService& registers, const Topology& topology,
          Peers& peers);

  // Pulls what this replica lacks of the partition from every other replica that answers. May be
  // repeated and interrupted at any time. Errors: kInvalid (this node is no replica of it, in the
  // current nor the next layout), kStale (the layout changed meanwhile: call again), kNoSpace,
  // kCorrupt.
  Task<Result<RowSyncReport>> catch_up(PartitionId partition, TimePoint deadline);
  // Brings over single rows that this replica is known to lack, from whoever has them. Returns how
  // many are still lacking. Errors: as catch_up.
  Task<Result<size_t>> bring(PartitionId partition, std::vector<CommitNotice> rows,
                             TimePoint deadline);
  // Drops committed tombstones that every replica of all live layouts is proven to have (or to have
  // dropped), and raises the floor. Asks all replicas: with one of them away nothing is dropped.
  // Only what was there before the last call but one, so that nothing below the floor is still on
  // its way here: not needed for safety, but a row that a floor refuses has to be written again.
  // Returns how many were dropped. Errors: as catch_up; kUnavailable.
  Task<Result<size_t>> collect_tombstones(PartitionId partition, TimePoint deadline);

  // Another replica does it. Errors: likewise; kTimeout, kUnavailable.
  Task<Result<RowSyncReport>> catch_up_at(NodeId node, PartitionId partition, TimePoint deadline);

  // While joint: brings the partition into the state in which the new layout may begin (register.md
  // "Layout change" (a), (b)): a quorum of the old set has adopted joint, and for every key the
  // highest row on that quorum is committed and held by a quorum of the new set, or was written
  // again under joint. Any replica may run it; run it where the partition's holder is, after the
  // new replicas caught up. True for ever once it was reported for an epoch. Errors: as catch_up;
  // kUnavailable (a quorum is missing).
  Task<Result<SettleReport>> settle(PartitionId partition, TimePoint deadline);
  Task<Result<SettleReport>> settle_at(NodeId node, PartitionId partition, TimePoint deadline);
  // The epoch under which the partition was last found settled by this node; 0: never.
  uint32_t settled_epoch(PartitionId partition) const;

  // The digests of whole partitions here and there: equal ones need no comparing. nullopt where the
  // other one is no replica. Errors: kStale, kTimeout, kUnavailable.
  Task<Result<std::vector<bool>>> same_roots(NodeId node, std::vector<PartitionId> partitions,
                                             TimePoint deadline);

  struct Totals {  // since this process started
    uint64_t rows_pulled = 0, attachments_pulled = 0, bytes_pulled = 0;
    uint64_t settled = 0, catch_ups = 0, rows_served = 0, tombstones_collected = 0;
  };
  const Totals& totals() const { return totals_; }

  // Makes sure that a row that is joined (store/available) is on a quorum while the layout is
  // joint. Before settle(). May be empty.
  std::function<Task<Status>(RegisterKey, TimePoint)> spread;

  // Ends what runs soon.
  void stop() { stopped_ = true; }

  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;

 private:
  struct Place {
    uint32_t epoch = 0;
    ReplicaSets sets;
    std::vector<NodeId> others;
  };
  // A row that its holder has to make committed.
  struct Unsettled {
    Rank seen;
    bool floored = false;  // committed, but the floor here keeps it out: a higher rank is needed
  };
  // What a catch-up of one partition has met.
  struct Session {
    PartitionId partition = 0;
    Place at;
    TimePoint deadline;
    RowSyncReport report;
    std::map<std::string, Unsettled> unsettled;  // by place
    Duration best{};                             // the fastest answer so far
    bool check_attachments = false;
  };

  Result<Place> place(PartitionId partition) const;
  bool current(const Place& at) const { return topology_.layout()->epoch == at.epoch; }
  Task<Result<SyncReply>> ask(NodeId node, SyncRequest request, TimePoint deadline);
  Task<void> pace(Session& session, Duration took);

  // row_sync.cpp
  Task<Status> compare_with(Session& session, NodeId node);
  Task<Status> bring_range(Session& session, NodeId node, std::string behind, std::string to);
  Task<Status> pull(Session& session, NodeId node, std::vector<std::string> places);
  Task<Status> take(Session& session, std::vector<PulledRow> rows);
  Task<Status> complete_attachments(Session& session, PulledRow& row);
  Task<Status> repair_attachments(Session& session, std::vector<std::string> places);
  Task<void> settle_rows(Session& session);
  bool settled_here(PartitionId partition, const std::string& place, const Unsettled& row) const;
  Task<void> settle_row(RegisterKey key, Rank above, TimePoint deadline, RowSyncReport& report);
  std::vector<AttachmentName> needed(const RegisterKey& key, const Entry& entry) const;
  Result<bool> lacks_attachments(PartitionId partition, std::string_view place,
                                 std::string_view value) const;

  struct Page {
    std::vector<RangeDigest> ranges;
    std::vector<bool> committed;          // all rows of the range
    std::vector<std::string> incomplete;  // rows whose attachments are not all here
    bool whole = false;                   // it reaches the end of the partition
  };
  Result<Page> own_page(PartitionId partition, const std::string& behind, bool attachments) const;
  struct Marks {
    std::vector<RowMark> rows;
    bool cut = false;
  };
  Result<Marks> own_marks(PartitionId partition, const std::string& behind, const std::string& to,
                          size_t limit) const;

  // tombstones.cpp
  struct Tombstones {
    std::vector<CommitNotice> rows;
    Rank highest;  // of all rows
  };
  Task<Result<Tombstones>> own_tombstones(PartitionId partition, Rank horizon);
  Task<Result<std::vector<CommitNotice>>> prove(Place at, std::vector<CommitNotice> tombstones,
                                                TimePoint deadline);

  // settle.cpp
  Task<Status> settle_range(Session& session, SettleReport& report, std::string behind,
                            std::string to);
  Task<void> settle_place(Session& session, std::string place, RowMark highest, uint64_t& done);
  struct Listed;
  Task<void> list_at(NodeId node, SyncRequest request, TimePoint deadline,
                     std::vector<Listed>& lists);

  // sync_server.cpp
  Task<Result<SyncReply>> answer(SyncRequest request);
  Task<Result<uint64_t>> root(PartitionId partition);
  Task<Result<SyncReply>> answer_roots(SyncRequest request);
  Result<SyncReply> answer_compare(const SyncRequest& request) const;
  Result<SyncReply> answer_list(const SyncRequest& request) const;
  Result<SyncReply> answer_pull(const SyncRequest& request);
  Result<SyncReply> answer_prove(const SyncRequest& request) const;

  Runtime runtime_;
  Kv& kv_;
  RegisterService& registers_;
  const Topology& topology_;
  Peers& peers_;
  bool stopped_ = false;
  Totals totals_;
  struct Root {
    uint64_t changes = 0;
    uint64_t digest = 0;
  };
  std::map<PartitionId, Root> roots_;
  std::map<PartitionId, uint64_t> attachments_checked_;  // at this count of changes
  std::map<PartitionId, uint32_t> settled_;
  struct Horizon {
    Rank rank;             // tombstones up to it may be collected
    uint64_t changes = 0;  // when nothing was left to collect
    bool idle = false;
  };
  std::map<PartitionId, Horizon> horizons_;
};

}  // namespace covey
