#include "store/block/block_service.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/core/codec.h"
#include "base/core/crc32c.h"
#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "store/meta/keyspace.h"

namespace covey {
namespace {

// At a peer, for the copies of one sender, however many nodes there are.
constexpr size_t kSendingBytesMin = 2 * kMiB;
// How long a copy that has come waits here for memory.
constexpr Duration kIncomingWait = std::chrono::seconds(3);
constexpr size_t kYoungMax = 65536;
constexpr size_t kCompactionsPerRound = 8;
constexpr Duration kLaterAfter = std::chrono::milliseconds(1000);  // then those behind are asked
constexpr Duration kDoubtAnswer = std::chrono::milliseconds(1000);
// A slow link takes one block after the other. A copy is not waited for any more when for so long
// none was taken, or when one was that left so much later: it got lost.
constexpr Duration kStalledAfter = std::chrono::seconds(10);
constexpr Duration kRound = std::chrono::seconds(5);
constexpr Duration kAnyCopyAfter = std::chrono::milliseconds(2000);  // of an available bucket

}  // namespace

BlockService::BlockService(Runtime runtime, Scope& scope, MemoryBudget& memory, Kv& kv,
                           Peers& peers, const Topology& topology, SegmentStore& segments)
    : runtime_(runtime),
      scope_(scope),
      kv_(kv),
      peers_(peers),
      topology_(topology),
      segments_(segments),
      memory_(memory) {
  peers.serve(PeerService::kBlock, *this);
  segments.on_damaged([this](const BlockKey& key) { wanted(key); });
}

ReplicaSets BlockService::replicas_of(PartitionId home) const {
  return replica_sets(*topology_.layout(), home % topology_.layout()->current.partitions());
}

Levels BlockService::levels() {
  uint64_t sending = 0, limit = kBlockBytes;  // of the node whose share is fullest
  for (auto& [node, share] : sending_) {
    if (share->used() < sending) continue;
    sending = share->used(), limit = std::max(share->limit(), kBlockBytes);  // or one alone
  }
  return {segments_.waiting(),
          {"memory_sending_bytes", sending, limit},
          {"memory_trailing_bytes", trailing_.bytes(), trailing_.limit() + kBlockBytesMax},
          {"blocks_young", young_.size(), kYoungMax, false}};
}

Task<Status> BlockService::put_here(BlockMessage message, Blob payload) {
  BlockKey key{message.home, message.id};
  WriteBatch batch;
  batch.put(debt_key(key), "");
  if (young_.size() >= kYoungMax) young_.clear();
  young_[hash_of(message.id)] = runtime_.clock.now();
  co_return co_await segments_.put(key, std::move(message.owner), std::move(payload),
                                   std::move(batch));
}

void BlockService::send(std::vector<NodeId> nodes, const BlockMessage& message, const Blob& payload,
                        TimePoint deadline, const std::shared_ptr<Delivery>& delivery) {
  for (const NodeId& node : nodes) {
    delivery->sent.push_back(node);
    delivery->waiting.push_back(node);
    scope_.spawn(put_at(node, message, payload, deadline, delivery));
  }
}

// What may be on its way to the node at once: each member sends as much as leaves the others
// theirs.
MemoryShare& BlockService::sending_to(NodeId node) {
  size_t members = topology_.layout()->current.members.size();
  size_t limit =
      std::max(kSendingBytesMin, memory_.copies.limit() / std::max<size_t>(1, members - 1));
  std::unique_ptr<MemoryShare>& share = sending_[node];
  if (!share) share = std::make_unique<MemoryShare>(runtime_.loop, runtime_.clock, limit);
  if (share->limit() != limit) share->set_limit(limit);
  return *share;
}

// Waits for its turn, in which the writer may give it up, then for the answer.
Task<Status> BlockService::send_copy(NodeId node, BlockMessage message, Blob payload,
                                     TimePoint deadline, std::shared_ptr<Delivery> delivery) {
  MemoryShare& share = sending_to(node);
  std::optional<MemoryLease> turn = share.try_acquire(payload.size());
  if (!turn) {
    MemoryShare::Waiter waiter(payload.size());
    delivery->queued[node] = &waiter;
    Result<MemoryLease> waited = co_await share.acquire(waiter, deadline);
    delivery->queued.erase(node);
    CO_TRY(turn, std::move(waited));
  }
  delivery->left_at[node] = runtime_.clock.now();
  PeerMessage request;
  request.head = encode_block_message(message);
  request.body = std::move(payload);
  auto reply = co_await peers_.call(node, PeerService::kBlock, std::move(request), deadline);
  if (!reply) co_return tl::unexpected<Error>(std::move(reply).error());
  co_return Status();
}

// Copies that wait for their turn at a node that is behind would keep memory from new bodies: the
// node gets them later, from those who have them.
void BlockService::leave_behind(Delivery& delivery, bool all) {
  std::vector<NodeId> nodes;
  for (const auto& [node, waiter] : delivery.queued)
    if (all || trailing_.behind(node)) nodes.push_back(node);
  for (const NodeId& node : nodes) {
    auto found = delivery.queued.find(node);
    if (found != delivery.queued.end()) sending_to(node).abandon(*found->second);
  }
}

Task<void> BlockService::put_at(NodeId node, BlockMessage message, Blob payload, TimePoint deadline,
                                std::shared_ptr<Delivery> delivery) {
  size_t bytes = payload.size();
  Status status;
  if (node == peers_.self()) {
    delivery->left_at[node] = runtime_.clock.now();
    status = co_await put_here(std::move(message), std::move(payload));
  } else {
    status = co_await send_copy(node, std::move(message), std::move(payload), deadline, delivery);
  }
  std::erase(delivery->waiting, node);
  if (status) {
    Taken& taken = taken_[node];
    taken.at = runtime_.clock.now();
    taken.left = std::max(taken.left, delivery->left_at[node]);
  }
  if (delivery->left && !SEEDED_BUG("block-trailing-kept")) trailing_.remove(node, bytes);
  Ack ack{node, std::move(status)};
  delivery->acks.put(std::move(ack));
}

// `there` outlives the task: its spawner joins it.
Task<void> BlockService::ask_there(NodeId node, BlockMessage message, std::vector<NodeId>& there) {
  std::vector<BlockId> ids;
  ids.push_back(message.id);
  auto held =
      co_await held_at(node, message.home, std::move(ids), runtime_.clock.after(kDoubtAnswer));
  if (held || !(held.is(ErrorCode::kTimeout) || held.is(ErrorCode::kUnavailable)))
    there.push_back(node);
}

bool BlockService::may_still_take(const NodeId& node, const Delivery& delivery) const {
  const TimePoint now = runtime_.clock.now();
  if (now - delivery.began < kStalledAfter) return true;
  auto taken = taken_.find(node);
  if (taken == taken_.end() || now - taken->second.at >= kStalledAfter) return false;
  auto left_at = delivery.left_at.find(node);
  return left_at == delivery.left_at.end() || taken->second.left - left_at->second < kStalledAfter;
}

// Who of them answers a question about the block now, which waits behind no block.
Task<std::vector<NodeId>> BlockService::who_answers(std::vector<NodeId> nodes,
                                                    BlockMessage message) {
  Scope scope;
  std::vector<NodeId> there;
  for (const NodeId& node : nodes) {
    if (node == peers_.self())
      there.push_back(node);
    else
      scope.spawn(ask_there(node, message, there));
  }
  co_await scope.join();
  co_return there;
}

// Whether a quorum of those that have the block, or may have it soon, answers. Those that have it
// are asked, too: what comes after the block needs a quorum that answers then.
Task<bool> BlockService::quorum_answers(ReplicaSets sets, std::vector<NodeId> have,
                                        BlockMessage message, std::shared_ptr<Delivery> delivery) {
  const TimePoint recently = runtime_.clock.now() - kDoubtAnswer;
  const std::vector<NodeId> waiting = delivery->waiting;
  for (const NodeId& node : waiting)
    if (may_still_take(node, *delivery)) have.push_back(node);
  std::vector<NodeId> there = co_await who_answers(std::move(have), std::move(message));
  // Who has answered meanwhile is heard next; who takes other copies answers, too.
  for (const NodeId& node : waiting) {
    auto taken = taken_.find(node);
    bool takes =
        taken != taken_.end() && taken->second.at >= recently && may_still_take(node, *delivery);
    if (takes || !has_node(delivery->waiting, node)) there.push_back(node);
  }
  co_return sets.quorum(there);
}

// Sends to the replicas that keep up, and to those that do not when a quorum needs them.
Task<Status> BlockService::await_quorum(ReplicaSets sets, BlockMessage message, Blob payload,
                                        TimePoint deadline, std::shared_ptr<Delivery> delivery) {
  std::vector<NodeId> now, later;
  for (const NodeId& node : sets.all()) (trailing_.behind(node) ? later : now).push_back(node);
  if (!sets.quorum(now)) now = sets.all(), later.clear();
  send(std::move(now), message, payload, deadline, delivery);
  TimePoint patience = runtime_.clock.after(kLaterAfter);
  TimePoint doubt = runtime_.clock.after(kDoubtAfter);
  std::vector<NodeId> have;
  Error last{ErrorCode::kUnavailable, "no replica answered", {}};
  auto enough = [&] {
    return sets.quorum(have) || (SEEDED_BUG("block-one-copy") && !have.empty());
  };
  while (delivery->answered < delivery->sent.size() && !enough()) {
    TimePoint until = std::min(deadline, later.empty() ? doubt : patience);
    if (delivery->any && hopeless(*delivery, have)) break;
    std::optional<Ack> ack = co_await delivery->acks.next_until(runtime_.clock, until);
    TimePoint now_is = runtime_.clock.now();
    if (!ack && later.empty() && now_is >= doubt && now_is < deadline) {
      doubt = now_is + kDoubtAfter;  // from when they are asked: one may be cut off right after it
      bool answers = co_await quorum_answers(sets, have, message, delivery);
      if (answers) continue;
      last.message = "too few of its replicas answer";
      break;
    }
    if (!ack && later.empty()) break;
    if (ack) ++delivery->answered;
    bool good = ack && ack->status;
    if (good) have.push_back(ack->from);
    if (ack && !good) last = ack->status.error(), delivery->failed = true;
    if (!good) send(std::exchange(later, {}), message, payload, deadline, delivery);
  }
  if (enough()) co_return Status();
  if (delivery->any) {
    // Those that did not answer are owed their copies by the ones that have it.
    delivery->failed = true;
    if (!have.empty()) co_return Status();
    if (!has_node(sets.all(), peers_.self()))
      co_return co_await put_here(std::move(message), std::move(payload));
  }
  bool known = last.code == ErrorCode::kNoSpace || last.code == ErrorCode::kOverloaded ||
               last.code == ErrorCode::kStale;
  co_return fail(known ? last.code : ErrorCode::kUnavailable,
                 "too few copies of a block could be written: " + last.message);
}

Task<Status> BlockService::put(PartitionId home, BlockId id, BlockOwner owner, Blob payload,
                               TimePoint deadline) {
  return put_copies(home, id, std::move(owner), std::move(payload), false, deadline);
}

Task<Status> BlockService::put_available(PartitionId home, BlockId id, BlockOwner owner,
                                         Blob payload, TimePoint deadline) {
  TimePoint until = std::min(deadline, runtime_.clock.after(kAnyCopyAfter));
  return put_copies(home, id, std::move(owner), std::move(payload), true, until);
}

// Nobody who is worth waiting for has still to answer.
bool BlockService::hopeless(const Delivery& delivery, const std::vector<NodeId>& have) const {
  if (have.empty()) return false;
  return std::none_of(delivery.waiting.begin(), delivery.waiting.end(),
                      [this](const NodeId& node) { return topology_.alive(node); });
}

Task<Status> BlockService::put_copies(PartitionId home, BlockId id, BlockOwner owner, Blob payload,
                                      bool any, TimePoint deadline) {
  ReplicaSets sets = replicas_of(home);
  uint32_t epoch = topology_.layout()->epoch;
  std::vector<NodeId> replicas = sets.all();
  BlockMessage message;
  message.kind = BlockMessageKind::kPut;
  message.id = id;
  message.home = home;
  message.owner = std::move(owner);
  if (replicas.size() == 1 && replicas[0] == peers_.self()) {
    BlockKey key{home, id};
    WriteBatch no_debt;
    co_return co_await segments_.put(key, std::move(message.owner), std::move(payload),
                                     std::move(no_debt));
  }
  message.crc = crc32c(payload.view());
  size_t bytes = payload.size();
  trailing_.fit(memory_.bodies.limit());
  auto delivery = std::make_shared<Delivery>();
  delivery->any = any;
  delivery->began = runtime_.clock.now();
  Status written = co_await await_quorum(std::move(sets), std::move(message), std::move(payload),
                                         deadline, delivery);
  delivery->left = true;
  for (const NodeId& node : delivery->waiting) trailing_.add(node, bytes);
  leave_behind(*delivery, !written);
  CO_TRY_STATUS(std::move(written));
  size_t missing = delivery->sent.size() - delivery->answered;
  bool all_good = delivery->sent.size() == replicas.size() && !delivery->failed;
  BlockKey key{home, id};
  if (all_good)
    scope_.spawn(await_rest(std::move(delivery), missing, std::move(replicas), key, epoch));
  co_return Status();
}

// When every replica has the block nobody owes anything; otherwise the debts stay. They also stay
// where another layout has been adopted: its replicas may be others.
Task<void> BlockService::await_rest(std::shared_ptr<Delivery> delivery, size_t missing,
                                    std::vector<NodeId> replicas, BlockKey key, uint32_t epoch) {
  for (; missing > 0; --missing) {
    Ack ack = co_await delivery->acks.next();
    if (!ack.status) co_return;
  }
  BlockMessage message;
  message.kind = BlockMessageKind::kSettled;
  message.home = key.home;
  message.ids.push_back(key.id);
  message.epoch = epoch;
  std::string head = encode_block_message(message);
  for (const NodeId& node : replicas) {
    if (node != peers_.self()) peers_.tell(node, PeerService::kBlock, head);
  }
  settled(message);
}

Task<Status> BlockService::drop_local(PartitionId home, VersionId version) {
  return segments_.drop(home, version);
}

Blocks::Usage BlockService::usage() const {
  Usage usage;
  usage.used_bytes = segments_.live_bytes();
  usage.reclaimable_bytes = segments_.dead_bytes();
  usage.free_bytes = space_.free_bytes;
  usage.total_bytes = space_.total_bytes;
  usage.copies_owed = debts_;
  usage.quarantined = segments_.quarantined();
  usage.to_repair = repairs_waiting_;
  usage.repaired = repaired_;
  return usage;
}

Task<Result<PeerMessage>> BlockService::serve(NodeId, PeerMessage request) {
  CO_TRY(BlockMessage message, decode_block_message(request.head));
  PeerMessage reply;
  BlockKey key{message.home, message.id};
  switch (message.kind) {
    case BlockMessageKind::kPut: {
      if (crc32c(request.body.view()) != message.crc)
        co_return fail(ErrorCode::kCorrupt, "a block changed on its way");
      TimePoint until = runtime_.clock.after(kIncomingWait);
      CO_TRY(MemoryLease held, co_await memory_.copies.acquire(request.body.size(), until));
      Blob payload = leased(std::move(request.body), std::move(held));
      CO_TRY_STATUS(co_await put_here(std::move(message), std::move(payload)));
      co_return reply;
    }
    case BlockMessageKind::kGet: {
      auto read = co_await segments_.get(key, message.offset, message.size);
      if (read.is(ErrorCode::kNotFound) && awaits_repair(key))
        co_return fail(ErrorCode::kCorrupt, "the copy here is damaged");
      CO_TRY(SegmentStore::Stored stored, std::move(read));
      Writer(reply.head).u32(crc32c(stored.bytes.view()));
      reply.body = std::move(stored.bytes);
      co_return reply;
    }
    case BlockMessageKind::kHas:
      // A refused version is as good as there: it must not be sent. Where nobody can tell whether
      // it was refused, whoever asks may give up its copy because of the answer.
      for (const BlockId& id : message.ids) {
        BlockKey one{message.home, id};
        const bool refused = segments_.may_be_named(id.version).is(ErrorCode::kStale);
        reply.head += segments_.has(one) || refused ? '1' : '0';
      }
      co_return reply;
    case BlockMessageKind::kRefused:
      for (const BlockId& id : message.ids) {
        CO_TRY(bool refused, segments_.refused_for_good(id.version));
        reply.head += refused ? '1' : '0';
      }
      co_return reply;
    case BlockMessageKind::kFetch: {
      CO_TRY(auto record, co_await segments_.read_record(key));
      message.owner = record.first.owner;
      message.crc = crc32c(record.second.view());
      reply.head = encode_block_message(message);
      reply.body = std::move(record.second);
      co_return reply;
    }
    case BlockMessageKind::kSettled: settled(message); co_return reply;
    case BlockMessageKind::kList: {
      CO_TRY(reply.head, serve_list(message));
      co_return reply;
    }
  }
  co_return fail(ErrorCode::kInvalid, "an unknown block message");
}

Task<void> BlockService::run() {
  scope_.spawn(repair_loop());
  bool go_on = true;
  while (go_on) {
    auto settled_now = co_await settle_debts();
    if (!settled_now) log_debug("debts: {}", to_string(settled_now.error()));
    Result<bool> compacted = true;
    for (size_t i = 0; i < kCompactionsPerRound && compacted && *compacted; ++i) {
      if (!scope_.stop_requested()) compacted = co_await segments_.compact_one();
    }
    if (!compacted) log_warn("compaction: {}", to_string(compacted.error()));
    DiskSpace sum;
    for (const std::string& dir : segments_.dirs()) {
      auto space = co_await runtime_.disk.space(dir);
      if (space) sum.free_bytes += space->free_bytes, sum.total_bytes += space->total_bytes;
    }
    space_ = sum;
    go_on = co_await scope_.sleep(runtime_.clock, kRound);
  }
}

}  // namespace covey
