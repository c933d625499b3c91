// AvailableRows: rows of available buckets over a metadata store, peers and a layout. The same
// interface as registers, another promise: any node that reaches one replica, or none, takes a
// write, and what it could not deliver it carries over later (docs/adr/0005-available-buckets.md).
//
// A write is coordinated by a replica, the gateway's own or the nearest that answers. It reads what
// a majority has (or all that answer), joins, writes the result here, durably, and sends it to the
// others. It is acknowledged when a majority has it, or when nobody more answers in time and it is
// durable here. Where no replica answers the gateway's node keeps the row as a hint, and hands it
// over when one returns ("sloppy quorum", Dynamo, SOSP'07).
//
// Loop thread only.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "base/core/level.h"
#include "base/crdt/hlc.h"
#include "gossip/ring/topology.h"
#include "proto/peers.h"
#include "store/available/messages.h"
#include "store/available/row.h"
#include "store/available/table.h"
#include "store/meta/kv.h"
#include "store/register/service.h"

namespace covey {

inline constexpr Duration kAvailableWait = std::chrono::milliseconds(2500);  // for a majority
inline constexpr Duration kAvailableCall = std::chrono::milliseconds(4000);
inline constexpr Duration kAvailableSuspect = std::chrono::seconds(2);
inline constexpr Duration kHlcAheadMax = std::chrono::minutes(5);
inline constexpr size_t kServedMax = 8192;  // writes for others that are remembered
inline constexpr Duration kServedFor = std::chrono::seconds(60);
inline constexpr size_t kHintsMax = 100000;  // on one node; then writes get 503
inline constexpr size_t kOwedMax = 65536;    // rows owed to replicas; beyond: the next comparison
inline constexpr size_t kAvailableCallsMax = 8192;  // to other nodes, under way; then 503

// A mutation that removes one version, whatever it is: this byte, then the version id.
inline constexpr char kRemoveVersion = 'v';

class AvailableRows final : public Registers, public PeerHandler {
 public:
  // Everything outlives it. The caller registers it: peers.serve(PeerService::kAvailable, *this).
  AvailableRows(Runtime runtime, Kv& kv, RegisterService& registers, const Topology& topology,
                Peers& peers);

  // Hands over hints and what is owed, until the scope stops.
  Task<void> run(Scope& scope);
  // What is asked of it from now on is refused: nothing is acknowledged, nothing is begun.
  Task<void> stop();

  Task<Result<std::string>> mutate(RegisterKey key, Mutation mutation, TimePoint deadline) override;
  Task<Result<ReadResult>> read(RegisterKey key, bool with_inline, Fence fence,
                                TimePoint deadline) override;
  Task<Result<RangePage>> range(RangeQuery query, TimePoint deadline) override;
  Task<Status> put_attachments(PartitionId partition, std::vector<Attachment> rows, Fence fence,
                               TimePoint deadline) override;
  Task<Result<std::string>> read_attachment(PartitionId partition, VersionId owner,
                                            std::string suffix, TimePoint deadline) override;
  // Nothing is fenced: a site that is cut off works under the settings it knows.
  Task<Status> fence(PartitionId, Fence, TimePoint) override { co_return Status(); }
  Result<LocalState> local(const RegisterKey& key) override;

  // A key with all its siblings, as far as replicas (or hints) answer. Errors: kUnavailable (no
  // replica answers, and no hint here or there knows the key).
  Task<Result<AvailableRow>> look_up(RegisterKey key, TimePoint deadline);
  // Rows in order of their keys. Errors: kUnavailable (no replica answers).
  struct Rows {
    std::vector<std::pair<std::string, AvailableRow>> rows;
    bool truncated = false;
    std::string next;  // where to go on (inclusive) when truncated
  };
  Task<Result<Rows>> rows(RegisterKey begin, std::string end, size_t limit, TimePoint deadline);

  // While the layout changes: all that replicas of either layout know of the key is on a quorum of
  // both.
  Task<Status> spread(RegisterKey key, TimePoint deadline);

  // No node takes writes to the bucket any more. False: it holds objects. Errors: kUnavailable (not
  // every node answers).
  Task<Result<bool>> seal(BucketId bucket, TimePoint deadline);
  Task<Status> unseal(BucketId bucket, TimePoint deadline);

  struct Progress {
    uint64_t hints = 0;         // rows kept here for replicas that were away
    uint64_t owed = 0;          // rows that some replica is known to lack
    uint64_t handed_over = 0;   // since start
    uint64_t clock_ahead = 0;   // stamps from further ahead than kHlcAheadMax, since start
    uint64_t fewer_copies = 0;  // writes acknowledged below a majority, since start
  };
  Progress progress() const;
  Levels levels() const;

  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;

 private:
  struct Place {
    ReplicaSets sets;
    std::vector<NodeId> replicas;
    std::vector<NodeId> others;  // replicas but this node
    bool self_in = false;
  };
  struct Answers {  // to one question, as they come
    std::vector<std::pair<NodeId, AvailableReply>> got;
    std::vector<NodeId> asked;
    size_t done = 0;
    Event progress;
  };
  using AnswersRef = std::shared_ptr<Answers>;
  struct Gathered {
    std::vector<AvailableReply> replies;
    bool from_replica = false;
  };
  struct Served {  // a write for another node, under way or done
    std::optional<Result<std::string>> reply;
    Event done;
    TimePoint began;
  };
  using ServedRef = std::shared_ptr<Served>;
  struct Known {  // what is stored here
    AvailableRow row;
    uint64_t actor = 0;
    bool stored = false;
  };

  // service.cpp
  Place place(PartitionId partition) const;
  bool healthy(const NodeId& node) const;
  const AvailableTable* table(TableId id) const;
  Task<Result<AvailableReply>> call(NodeId to, AvailableRequest request, TimePoint deadline);
  Task<void> ask_task(AnswersRef answers, NodeId to, AvailableRequest request, TimePoint deadline);
  void ask(const AnswersRef& answers, const NodeId& to, const AvailableRequest& request,
           TimePoint deadline);
  // Until a quorum (with `self`) has answered, or all that are healthy have, or it takes too long.
  Task<void> wait(AnswersRef answers, Place at, bool self, TimePoint deadline);
  Task<Result<Gathered>> gather(AvailableRequest request, TimePoint deadline);
  Task<Result<std::string>> coordinate(RegisterKey key, Mutation mutation, TimePoint deadline);
  Result<std::string> change(const AvailableTable& table, const RegisterKey& key,
                             const Mutation& mutation, AvailableRow& row, uint64_t actor,
                             WriteBatch& batch);
  void trim(const AvailableTable& table, const RegisterKey& key, AvailableRow& row,
            WriteBatch& batch);
  HlcStamp stamp_above(const AvailableRow& row);
  void witness(const AvailableRow& row);
  Task<Status> deliver(RegisterKey key, std::string row, std::vector<Attachment> attachments,
                       TimePoint deadline);

  // local_rows.cpp
  Result<Known> known(const RegisterKey& key, const Place& at);
  Result<uint64_t> actor_of(PartitionId partition, WriteBatch& batch);
  Status store(const RegisterKey& key, const Place& at, const AvailableRow& row, uint64_t actor,
               const std::vector<Attachment>& attachments, WriteBatch& batch);
  Status merge_here(const AvailableRequest& request, WriteBatch& batch);
  void drop_unnamed(const RegisterKey& key, const AvailableRow& before, const AvailableRow& now,
                    WriteBatch& batch) const;
  Result<std::vector<AvailableItem>> rows_here(const RegisterKey& begin, const std::string& end,
                                               size_t limit, bool& cut);
  Result<bool> sealed(const BucketId& bucket);
  Result<bool> live_here(const BucketId& bucket);
  Task<Result<AvailableReply>> answer(AvailableRequest request);
  Task<Result<std::string>> serve_mutation(AvailableRequest request);

  // hints.cpp
  Status count_hints();
  Task<Status> hand_over(Scope& scope);
  Task<Status> hand_over_one(std::string hint_key, RegisterKey key);
  Task<void> pay_owed(NodeId node);
  void owe(const NodeId& node, const RegisterKey& key);
  Result<std::vector<Attachment>> attachments_here(const RegisterKey& key, std::string_view row);

  Runtime runtime_;
  Kv& kv_;
  RegisterService& registers_;
  const Topology& topology_;
  Peers& peers_;
  NodeId self_;
  Hlc hlc_;
  std::map<NodeId, TimePoint> suspects_;  // did not answer; not waited for until then
  std::map<NodeId, std::set<std::pair<PartitionId, std::string>>> owed_;  // partition, place
  size_t owed_count_ = 0;
  std::map<OperationId, ServedRef> served_;
  std::deque<OperationId> served_order_;
  uint64_t hints_ = 0;
  std::string next_hint_;  // where the next round begins to hand over; empty: at the first
  TimePoint count_hints_at_;
  Progress totals_;
  Scope scope_;
};

}  // namespace covey
