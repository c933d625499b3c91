// RegisterService: registers.h over a metadata store, peers and a layout. Every node runs one: it
// answers as a replica (acceptor.h), holds partitions when it is asked to write them (holder.cpp),
// and is the gateway's door to both (service.cpp: mutations; reads.cpp; ranges.cpp).
//
// Loop thread only.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "base/async/runtime.h"
#include "base/core/level.h"
#include "store/register/acceptor.h"
#include "store/register/proposals.h"
#include "store/register/registers.h"
#include "store/register/walk.h"

namespace covey {

inline constexpr size_t kRegisterCallsMax = 8192;  // mutations under way on this node
inline constexpr size_t kKeyQueueMax = 256;        // mutations of one key waiting for their turn
inline constexpr size_t kLearntKeysMax = 8192;     // learnt states kept
inline constexpr int kMutationAttemptsMax = 16;
inline constexpr Duration kFailOverAfter = std::chrono::milliseconds(500);
inline constexpr Duration kHedgeAfter = std::chrono::milliseconds(10);
inline constexpr Duration kTakeOverStep = std::chrono::milliseconds(1000);
inline constexpr Duration kAcceptStep = std::chrono::milliseconds(1500);
// How long a write waits for a disk that is behind before it is refused; well below what makes
// others turn to another replica.
inline constexpr Duration kReliefMax = std::chrono::milliseconds(300);
inline constexpr Duration kNoticeDelay = std::chrono::milliseconds(20);
inline constexpr size_t kNoticesFlush = 128;

class RegisterService final : public Registers, public PeerHandler {
 public:
  // Raises the boot epoch durably, then serves. Everything handed in outlives the service. The
  // caller registers it: peers.serve(PeerService::kRegister, *service). Errors: kCorrupt, kNoSpace.
  static Task<Result<std::unique_ptr<RegisterService>>> open(
      Runtime& runtime, Kv& kv, Topology& topology, Peers& peers,
      std::vector<const RegisterTable*> tables);
  // REQUIRES: stopped.
  ~RegisterService() override = default;
  // New mutations are refused; completes when no background work is left.
  Task<void> stop();

  // The topology adopted another layout epoch: ballots and learnt states are void.
  void on_epoch_change();
  // This node stores no register row.
  Result<bool> empty();
  // While it stands by, this node neither serves nor writes any register: kUnavailable. For a start
  // of which it is not known yet whether the disk forgot something.
  void stand_by(bool stands_by) { standing_by_ = stands_by; }

  Task<Result<std::string>> mutate(RegisterKey key, Mutation mutation, TimePoint deadline) override;
  Task<Result<ReadResult>> read(RegisterKey key, bool with_inline, Fence fence,
                                TimePoint deadline) override;
  Task<Result<RangePage>> range(RangeQuery query, TimePoint deadline) override;
  Task<Status> put_attachments(PartitionId partition, std::vector<Attachment> rows, Fence fence,
                               TimePoint deadline) override;
  Task<Result<std::string>> read_attachment(PartitionId partition, VersionId owner,
                                            std::string suffix, TimePoint deadline) override;
  Task<Status> fence(PartitionId partition, Fence fence, TimePoint deadline) override;
  Result<LocalState> local(const RegisterKey& key) override;

  // ---- for store/sync (merge.cpp)
  struct MergeRow {
    RegisterKey key;
    Entry entry;
    std::vector<Attachment> attachments;
  };
  // Joins committed rows that another replica has under layout epoch `under`; durable, with their
  // attachments, when it completes. One outcome per row. Errors: kStale (this node has adopted
  // another epoch or is no replica: nothing was done), kNoSpace, kOverloaded, kCorrupt.
  Task<Result<std::vector<Merged>>> merge(PartitionId partition, uint32_t under,
                                          std::vector<MergeRow> rows);
  Task<Status> merge_fences(PartitionId partition, uint32_t under, std::vector<Fence> fences);
  // Drops tombstones and raises the floor. REQUIRES: under epoch `under` every replica of the
  // partition is proven to have at least these ranks. Returns how many were dropped.
  Task<Result<size_t>> collect(PartitionId partition, uint32_t under,
                               std::vector<CommitNotice> tombstones);
  void mark_committed(const std::vector<CommitNotice>& notices);
  // The partition's holder makes the key's state one that a quorum (of both sets while joint)
  // reports under one rank, and a rank above `above` unless the key is missing there. Errors:
  // kUnavailable.
  Task<Status> settle_key(RegisterKey key, Rank above, TimePoint deadline);
  uint64_t changes(PartitionId partition) const { return acceptor_.changes(partition); }
  // Rows were erased behind this service's back (a purge).
  void purged(PartitionId partition) { acceptor_.changed(partition); }
  Acceptor& acceptor() { return acceptor_; }
  const TableSet& tables() const { return tables_; }
  Levels levels() const;

  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;

 private:
  RegisterService(Runtime& runtime, Kv& kv, Topology& topology, Peers& peers,
                  std::vector<const RegisterTable*> tables);

  // ---- placement and gathering (gather.cpp)
  struct Place {
    uint32_t epoch = 0;
    ReplicaSets sets;
    std::vector<NodeId> all;
    bool self_in = false;
    bool alone = false;  // this node is the only replica
  };
  using PlaceRef = std::shared_ptr<const Place>;
  struct Got {
    NodeId from;
    Reply reply;
  };
  struct Gather {
    std::vector<Got> got;
    size_t asked = 0;
    Event progress;
    // Of an Accept: a refusal means that there is a higher promise. The ballot is given up then,
    // also when a quorum took the row: or that replica would take no row any more.
    PartitionId partition = 0;
    Ballot accept;
    bool complete() const { return got.size() == asked; }
    const Reply* from(const NodeId& node) const;
  };
  using GatherRef = std::shared_ptr<Gather>;

  // Errors: kInvalid (no such partition).
  Result<PlaceRef> place(PartitionId partition);
  uint32_t epoch() const { return topology_.layout()->epoch; }
  std::vector<NodeId> nearest(const Place& place) const;
  bool healthy(const NodeId& node) const;
  // Completes with the reply once what it reports is durable.
  Task<Reply> finish(Acceptor::Outcome outcome);
  Task<Reply> call(NodeId to, std::string head, TimePoint deadline);
  Task<void> ask_task(GatherRef gather, NodeId to, std::string head, TimePoint deadline);
  Task<void> self_task(GatherRef gather, Acceptor::Outcome outcome);
  void ask(const GatherRef& gather, const NodeId& to, std::string head, TimePoint deadline);
  void ask_self(const GatherRef& gather, Acceptor::Outcome outcome);
  // Waits for one more reply. False at the deadline or when all have answered.
  Task<bool> more(GatherRef gather, TimePoint deadline);
  Task<void> pause(Duration min);
  // Sends to every replica (the local part by `local`), until a quorum said yes.
  Task<Status> on_quorum(PlaceRef place, Request request, TimePoint deadline);
  Acceptor::Outcome step(const Request& request);

  // ---- routing (service.cpp)
  struct Sent {
    bool answered = false;   // else: certainly not delivered, or in doubt
    bool delivered = false;  // maybe
    Reply reply;
  };
  NodeId route(const Place& place) const;
  void suspect(NodeId node);
  Task<void> probe(NodeId node);
  Task<Sent> propose(NodeId to, std::string head, TimePoint deadline);
  uint32_t boot_of(const NodeId& node, uint64_t connection) const;
  Task<Result<std::string>> route_mutation(RegisterKey key, Mutation mutation, TimePoint deadline);
  Task<Result<std::string>> look_up_elsewhere(PlaceRef place, NodeId tried, Request request,
                                              TimePoint deadline);
  Task<Reply> serve_placed(Request request);
  Task<Reply> serve_proposal(NodeId from, Request request);
  Task<Reply> serve_holder(Request request);
  Task<Reply> serve_replica(Request request);
  // Waits while the disk is behind. Nothing may rest on what was looked up before.
  Task<void> relief(TimePoint deadline);

  // ---- holding (holder.cpp)
  struct Holding {
    Ballot ballot;
    bool held = false;
    bool taking = false;
    uint64_t seq = 0;
    uint64_t foreign = 0;  // promises this replica may have made to others since it started
    Event taken;
  };
  struct KeyState {
    bool present = false;
    Entry entry;
    bool chosen = false;     // committed, or a quorum reported its rank
    bool on_quorum = false;  // a quorum reported its rank
    Rank floor;
    Ballot ballot;  // under which it was learnt
  };
  // kNotSent: this replica's disk takes no more; nobody has the row, the ballot is still held.
  enum class Sending { kChosen, kRefused, kFloor, kStale, kInDoubt, kFailed, kNotSent };
  struct SendResult {
    Sending sending = Sending::kFailed;
    Rank rank;
    Rank floor;
    bool only_here = false;  // every other replica refused the row, for good
    Error error{ErrorCode::kUnavailable, {}, {}};
  };
  struct Lost {};  // the ballot was lost on the way
  enum class Found { kYes, kNo, kUnknown };

  struct Turn;  // a key's queue, held
  Holding& holding(PartitionId partition);
  void drop(PartitionId partition, const Ballot& ballot);
  void saw(const Ballot& ballot);
  // A row of this ballot stands somewhere: whoever wrote it took the partition over.
  void heard(const RegisterKey& key, const Ballot& ballot);
  Task<Result<Ballot>> hold(PartitionId partition, TimePoint deadline);
  Task<Result<Ballot>> take_over(PartitionId partition, TimePoint deadline);
  Task<bool> lock_key(std::string key, TimePoint deadline);
  void unlock_key(const std::string& key);
  Task<Result<std::string>> execute(RegisterKey key, Mutation mutation, TimePoint deadline);
  Task<Result<std::string>> execute_locked(RegisterKey key, std::string store_key,
                                           Mutation mutation, TimePoint deadline);
  // kStale: the ballot was lost; kUnavailable: no quorum.
  Task<Result<KeyState>> learn(RegisterKey key, Ballot ballot, TimePoint deadline);
  Task<Result<KeyState>> judge(RegisterKey key, Ballot ballot, PlaceRef place, GatherRef gather,
                               TimePoint deadline);
  Task<Result<RegisterTable::Write>> decide(const RegisterTable& table, RegisterKey key,
                                            const Mutation& mutation, Ballot ballot,
                                            KeyState& state, bool known, TimePoint deadline);
  Task<SendResult> replicate(RegisterKey key, Entry entry, std::vector<Attachment> attachments,
                             Fence fence, TimePoint deadline, bool repair = false);
  // read_attachment, and which replicas said that they do not have it. kUnavailable: nobody had it.
  Task<Result<std::string>> look_for_attachment(PlaceRef at, PartitionId partition, VersionId owner,
                                                std::string suffix, TimePoint deadline,
                                                std::vector<NodeId>& without);
  Task<SendResult> recommit(RegisterKey key, KeyState state, Ballot ballot, Fence fence,
                            TimePoint deadline);
  Task<Found> look_up(RegisterKey key, OperationId operation, Rank attempt, bool only_here,
                      Fence fence, TimePoint deadline);
  Task<Result<std::string>> look_up_for(RegisterKey key, Mutation mutation, TimePoint deadline);
  Task<Status> settle(RegisterKey key, Rank above, TimePoint deadline);
  Task<Status> settle_locked(RegisterKey key, Rank above, TimePoint deadline);
  Task<Status> settle_by_holder(RegisterKey key, PlaceRef place, Rank above, TimePoint deadline);
  void forget(const std::string& store_key);
  void remember(const std::string& store_key, KeyState state);
  const KeyState* remembered(const std::string& store_key, const Ballot& ballot);
  void note_committed(const RegisterKey& key, const Rank& rank);
  void flush_notices();
  Task<void> flush_later();

  // ---- reading (reads.cpp)
  struct Judged {
    bool decided = false;
    bool missing = false;
    Rank rank;
    std::vector<NodeId> agree;
    NodeId highest_at;
  };
  Judged judge_read(const Place& place, const Gather& gather) const;
  Task<Result<ReadResult>> read_once(RegisterKey key, PlaceRef place, bool with_inline, Fence fence,
                                     TimePoint deadline);
  Task<Result<ReadResult>> result_of(RegisterKey key, Reply reply, bool with_inline,
                                     TimePoint deadline);
  Task<Result<Reply>> fetch(RegisterKey key, NodeId from, Want want, Fence fence,
                            TimePoint deadline);
  Task<Result<ReadResult>> relay(RegisterKey key, PlaceRef place, Judged judged, bool with_inline,
                                 Fence fence, TimePoint deadline);

  // ---- ranges (ranges.cpp)
  Task<Result<Reply>> range_from(NodeId node, Request query, TimePoint deadline);
  Reply range_reply(const Request& query, KvVersion& after);
  Task<Result<RangePage>> range_once(RangeQuery query, PlaceRef place, TimePoint deadline);
  Task<Result<RangePage>> settle_range(RangeQuery query, Reply mine, Reply theirs,
                                       TimePoint deadline);

  Runtime& runtime_;
  Kv& kv_;
  Topology& topology_;
  Peers& peers_;
  TableSet tables_;
  Acceptor acceptor_;
  NodeId self_;
  uint64_t tag_ = 0;
  uint32_t boot_ = 0;
  uint64_t counter_ = 0;  // of the highest ballot seen
  size_t in_flight_ = 0;
  bool standing_by_ = false;

  std::shared_ptr<const LayoutState> placed_;
  std::vector<PlaceRef> places_;
  std::map<PartitionId, Holding> holdings_;
  std::unordered_map<std::string, std::list<Event*>> busy_keys_;
  struct Learnt {
    KeyState state;
    std::list<std::string>::iterator age;
  };
  std::unordered_map<std::string, Learnt> learnt_;
  std::list<std::string> ages_;  // newest first
  std::set<NodeId> suspects_;
  ProposalBook proposed_;             // to this node
  uint64_t proposals_ = 0;            // by this node since it started
  struct Boot {
    uint32_t boot = 0;
    uint64_t connection = 0;  // on which it was said
  };
  std::map<NodeId, Boot> boots_;  // of holders
  std::map<NodeId, std::vector<CommitNotice>> notices_;
  size_t notices_waiting_ = 0;
  bool flushing_ = false;
  Scope scope_;
};

}  // namespace covey
