// BlockService: blocks replicated over the replicas of their home partition.
//
// A put goes to all replicas at once and is done when a majority has it; a replica that is behind
// (trailing.h) is left out unless it is needed. A replica keeps a debt row
// for each block until it hears that all have it (the row stands beside the block's place, so a
// crash loses both or neither and recovery brings both back); debts that stay are settled by
// whoever holds the block: it asks the others and sends what they lack. So the gateway, and either
// of the first two holders, may die.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/async/memory_budget.h"
#include "base/async/runtime.h"
#include "base/core/level.h"
#include "gossip/ring/topology.h"
#include "proto/peers.h"
#include "store/block/block_messages.h"
#include "store/block/blocks.h"
#include "store/block/read_times.h"
#include "store/block/segment_store.h"
#include "store/block/trailing.h"

namespace covey {

// Replicas that are slow are waited for; whether they answer at all is asked then, and again and
// again: they may be cut off at any time, and the client hears of that within 5 s.
inline constexpr Duration kDoubtAfter = std::chrono::seconds(3);

class BlockService : public Blocks, public PeerHandler {
 public:
  // Registers itself as the handler of PeerService::kBlock. Everything outlives it; `scope` is
  // joined by its owner.
  BlockService(Runtime runtime, Scope& scope, MemoryBudget& memory, Kv& kv, Peers& peers,
               const Topology& topology, SegmentStore& segments);

  // Settles debts and compacts until the scope stops.
  Task<void> run();
  // One round over the debts that are old enough. Returns how many were settled.
  Task<Result<size_t>> settle_debts();

  // For SegmentStore::open.
  void recovered(BlockKey key);

  Task<Status> put(PartitionId home, BlockId id, BlockOwner owner, Blob payload,
                   TimePoint deadline) override;
  Task<Status> put_available(PartitionId home, BlockId id, BlockOwner owner, Blob payload,
                             TimePoint deadline) override;
  Task<Result<Blob>> get(PartitionId home, BlockId id, uint32_t offset, uint32_t size,
                         TimePoint deadline) override;
  uint32_t read_step(PartitionId home) const override;
  Task<Status> drop_local(PartitionId home, VersionId version) override;
  Usage usage() const override;
  // Memory of copies whose writers have gone on.
  size_t trailing_bytes() const { return trailing_.bytes(); }
  Levels levels();

  // This node should have the block and has no good copy: it will be fetched, soon and until it
  // comes.
  void wanted(const BlockKey& key);
  // Those of a partition that are still to be repaired. Errors: kCorrupt, kIo.
  Result<std::vector<BlockKey>> waiting_repairs(PartitionId home);
  // These are of no use to anybody: no replica has them and no row names them.
  void give_up_repairs(const std::vector<BlockKey>& keys);

  // ---- for store/sync (block_transfer.cpp)
  SegmentStore& segments() { return segments_; }
  // Blocks of a partition that the node has, from behind `after` on. Errors: kStale (it has not
  // adopted this node's layout epoch), those of Peers::call.
  Task<Result<BlockList>> list_at(NodeId node, PartitionId home, std::optional<BlockId> after,
                                  size_t limit, TimePoint deadline);
  // Which of the blocks the node has, or has refused, be it only until a judge says more. REQUIRES:
  // at most kBlockIdsMax ids.
  Task<Result<std::vector<bool>>> held_at(NodeId node, PartitionId home, std::vector<BlockId> ids,
                                          TimePoint deadline);
  // Whether the node has refused the block's version for good. Errors: kInvalid (its binary does
  // not know the question), those of Peers::call.
  Task<Result<bool>> refused_at(NodeId node, BlockKey key, TimePoint deadline);
  // A copy of the node's block, as it came, and verified. Errors: kNotFound, kCorrupt, kOverloaded,
  // those of Peers::call.
  struct Fetched {
    BlockKey key;
    BlockOwner owner;
    Blob payload;
  };
  Task<Result<Fetched>> fetch(NodeId from, BlockKey key, TimePoint deadline);
  // Makes it this node's own; durable when it completes. Errors: kStale (refused here), kNoSpace,
  // kOverloaded, kIo.
  Task<Status> keep(Fetched fetched);
  // The other way round.
  Task<Status> bring(BlockKey key, NodeId node);

  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;

 private:
  struct Ack {
    NodeId from;
    Status status;
  };
  struct Read {
    NodeId from;
    Result<Blob> bytes;
  };
  // Of the copies that a node took from here.
  struct Taken {
    TimePoint at;    // when it last did
    TimePoint left;  // when the youngest of them left
  };
  // One block on its way to its replicas.
  struct Delivery {
    std::vector<NodeId> sent;
    size_t answered = 0;
    TimePoint began;
    std::vector<NodeId> waiting;                    // sent to, not yet answered
    std::map<NodeId, MemoryShare::Waiter*> queued;  // of those: not yet sent
    std::map<NodeId, TimePoint> left_at;            // of those that were sent
    bool failed = false;                            // one of them said no
    bool any = false;                               // one copy is enough when no more come
    bool left = false;  // put() has returned; what is still on its way trails
    Mailbox<Ack> acks;
  };
  void send(std::vector<NodeId> nodes, const BlockMessage& message, const Blob& payload,
            TimePoint deadline, const std::shared_ptr<Delivery>& delivery);
  Task<void> put_at(NodeId node, BlockMessage message, Blob payload, TimePoint deadline,
                    std::shared_ptr<Delivery> delivery);
  MemoryShare& sending_to(NodeId node);
  Task<Status> send_copy(NodeId node, BlockMessage message, Blob payload, TimePoint deadline,
                         std::shared_ptr<Delivery> delivery);
  void leave_behind(Delivery& delivery, bool all);
  bool may_still_take(const NodeId& node, const Delivery& delivery) const;
  Task<std::vector<NodeId>> who_answers(std::vector<NodeId> nodes, BlockMessage message);
  Task<bool> quorum_answers(ReplicaSets sets, std::vector<NodeId> have, BlockMessage message,
                            std::shared_ptr<Delivery> delivery);
  Task<void> ask_there(NodeId node, BlockMessage message, std::vector<NodeId>& there);
  Task<Status> await_quorum(ReplicaSets sets, BlockMessage message, Blob payload,
                            TimePoint deadline, std::shared_ptr<Delivery> delivery);
  Task<void> await_rest(std::shared_ptr<Delivery> delivery, size_t missing,
                        std::vector<NodeId> replicas, BlockKey key, uint32_t epoch);
  Task<Status> put_copies(PartitionId home, BlockId id, BlockOwner owner, Blob payload, bool any,
                          TimePoint deadline);
  bool hopeless(const Delivery& delivery, const std::vector<NodeId>& have) const;
  Task<Status> put_here(BlockMessage message, Blob payload);
  Task<void> read_at(NodeId node, BlockMessage message, TimePoint deadline,
                     std::shared_ptr<Mailbox<Read>> reads);
  Task<Result<Blob>> read_elsewhere(PartitionId home, BlockMessage message, bool ours,
                                    TimePoint deadline);
  // block_repairs.cpp
  // The copy that was here is damaged, or it should be here and is not.
  bool awaits_repair(const BlockKey& key) const;
  Task<void> repair_loop();
  Task<Status> repair_round();
  Task<void> repair_one(BlockKey key, Semaphore& slots);
  Result<std::string> serve_list(const BlockMessage& message);

  // block_debts.cpp
  Task<Result<bool>> settle(BlockKey key, std::shared_ptr<std::set<NodeId>> away);
  void settled(const BlockMessage& message);
  void pay(const BlockKey& key);
  static uint64_t hash_of(const BlockId& id);
  static std::string debt_key(const BlockKey& key);
  ReplicaSets replicas_of(PartitionId home) const;

  Runtime runtime_;
  Scope& scope_;
  Kv& kv_;
  Peers& peers_;
  const Topology& topology_;
  SegmentStore& segments_;
  MemoryBudget& memory_;
  std::map<NodeId, std::unique_ptr<MemoryShare>> sending_;  // our part of their memory for copies
  std::map<NodeId, Taken> taken_;
  ReadTimes read_times_;
  TrailingCopies trailing_;
  std::unordered_map<uint64_t, TimePoint>
      young_;  // hash of blocks whose writer may still settle them
  BlockKey debt_cursor_;
  uint64_t debts_ = 0;  // counted in the last round
  BlockKey repair_cursor_;
  uint64_t repairs_waiting_ = 0, repaired_ = 0;
  bool repairs_fresh_ = false;
  DiskSpace space_;
};

}  // namespace covey
