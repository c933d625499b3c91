#include "store/block/block_service.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/core/codec.h"
#include "base/core/crc32c.h"
#include "base/core/log.h"
#include "store/meta/keyspace.h"

namespace covey {
namespace {

constexpr size_t kIncomingKiB = 64 * 1024;
constexpr size_t kRepairsMax = 4;
constexpr size_t kYoungMax = 65536;
constexpr size_t kDebtsPerRound = 1024;
constexpr size_t kCompactionsPerRound = 8;
constexpr Duration kRound = std::chrono::seconds(5);
constexpr Duration kYoungFor = std::chrono::seconds(15);
constexpr Duration kSettleTimeout = std::chrono::seconds(10);

size_t kib(size_t bytes) { return std::max<size_t>(1, (bytes + kKiB - 1) / kKiB); }

uint64_t hash_of(const BlockId& id) {
  uint64_t hash;
  std::memcpy(&hash, id.version.bytes.data(), sizeof hash);
  return hash ^ (id.index * 0x9e3779b97f4a7c15ull);
}

}  // namespace

BlockService::BlockService(Runtime runtime, Scope& scope, Kv& kv, Peers& peers,
                           const Topology& topology, SegmentStore& segments)
    : runtime_(runtime),
      scope_(scope),
      kv_(kv),
      peers_(peers),
      topology_(topology),
      segments_(segments),
      incoming_(kIncomingKiB),
      repairs_(kRepairsMax),
      started_(runtime.clock.now()) {
  peers.serve(PeerService::kBlock, *this);
}

std::string BlockService::debt_key(const BlockId& id) {
  std::string key(1, static_cast<char>(TableId::kBlockDebts));
  key.append(id.version.view());
  Writer(key).u32_be(id.index);
  return key;
}

ReplicaSets BlockService::replicas_of(PartitionId home) const {
  return replica_sets(*topology_.layout(), home % topology_.layout()->current.partitions());
}

void BlockService::recovered(BlockId id) {
  WriteBatch batch;
  batch.put(debt_key(id), "");
  Status kept = kv_.write_unlogged(std::move(batch));
  if (!kept) log_warn("a recovered block's copies are not checked: {}", to_string(kept.error()));
}

Task<Status> BlockService::put_here(BlockMessage message, Blob payload) {
  WriteBatch batch;
  batch.put(debt_key(message.id), "");
  if (young_.size() >= kYoungMax) young_.clear();
  young_[hash_of(message.id)] = runtime_.clock.now();
  // The home travels in the record; the debt worker needs it beside the id.
  co_return co_await segments_.put(message.id, std::move(message.owner), message.home,
                                   std::move(payload), std::move(batch));
}

Task<void> BlockService::put_at(NodeId node, BlockMessage message, Blob payload, TimePoint deadline,
                                std::shared_ptr<Mailbox<Ack>> acks) {
  Status status;
  if (node == peers_.self()) {
    status = co_await put_here(std::move(message), std::move(payload));
  } else {
    PeerMessage request;
    request.head = encode_block_message(message);
    request.body = std::move(payload);
    auto reply = co_await peers_.call(node, PeerService::kBlock, std::move(request), deadline);
    if (!reply) status = tl::unexpected<Error>(std::move(reply).error());
  }
  Ack ack{node, std::move(status)};
  acks->put(std::move(ack));
}

Task<Status> BlockService::put(PartitionId home, BlockId id, BlockOwner owner, Blob payload,
                               TimePoint deadline) {
  ReplicaSets sets = replicas_of(home);
  std::vector<NodeId> replicas = sets.all();
  BlockMessage message;
  message.kind = BlockMessageKind::kPut;
  message.id = id;
  message.home = home;
  message.owner = std::move(owner);
  if (replicas.size() == 1 && replicas[0] == peers_.self()) {
    CO_TRY_STATUS(co_await segments_.put(id, std::move(message.owner), home, std::move(payload),
                                         WriteBatch()));
    co_return Status();
  }
  message.crc = crc32c(payload.view());
  auto acks = std::make_shared<Mailbox<Ack>>();
  for (const NodeId& node : replicas) scope_.spawn(put_at(node, message, payload, deadline, acks));
  std::vector<NodeId> have;
  Error last{ErrorCode::kUnavailable, "no replica answered", {}};
  size_t answered = 0;
  while (answered < replicas.size() && !sets.quorum(have)) {
    std::optional<Ack> ack = co_await acks->next_until(runtime_.clock, deadline);
    if (!ack) break;
    ++answered;
    if (ack->status) {
      have.push_back(ack->from);
    } else {
      last = ack->status.error();
    }
  }
  if (!sets.quorum(have)) {
    bool known = last.code == ErrorCode::kNoSpace || last.code == ErrorCode::kOverloaded ||
                 last.code == ErrorCode::kStale;
    co_return fail(known ? last.code : ErrorCode::kUnavailable,
                   "too few copies of a block could be written: " + last.message);
  }
  // Named: arguments are evaluated in no fixed order, and one of them is moved from.
  size_t missing = replicas.size() - answered;
  if (have.size() == answered)
    scope_.spawn(await_rest(std::move(acks), missing, std::move(replicas), id));
  co_return Status();
}

// When every replica has the block nobody owes anything; otherwise the debts stay.
Task<void> BlockService::await_rest(std::shared_ptr<Mailbox<Ack>> acks, size_t missing,
                                    std::vector<NodeId> replicas, BlockId id) {
  for (; missing > 0; --missing) {
    Ack ack = co_await acks->next();
    if (!ack.status) co_return;
  }
  BlockMessage message;
  message.kind = BlockMessageKind::kSettled;
  message.ids.push_back(id);
  std::string head = encode_block_message(message);
  for (const NodeId& node : replicas) {
    if (node != peers_.self()) peers_.tell(node, PeerService::kBlock, head);
  }
  settled(message.ids);
}

void BlockService::settled(const std::vector<BlockId>& ids) {
  WriteBatch batch;
  for (const BlockId& id : ids) {
    batch.erase(debt_key(id));
    young_.erase(hash_of(id));
  }
  Status erased = kv_.write_unlogged(std::move(batch));
  if (!erased) log_debug("debts stay for now: {}", to_string(erased.error()));
}

Task<Status> BlockService::drop_local(VersionId version) { return segments_.drop(version); }

Task<Result<std::vector<Blocks::LocalVersion>>> BlockService::local_versions(VersionId after,
                                                                             Duration min_age,
                                                                             size_t limit) {
  // Segments sealed by an earlier process are older than this one; so nothing younger than it
  // counts.
  if (runtime_.clock.now() - started_ < min_age) co_return std::vector<LocalVersion>();
  co_return co_await segments_.versions(after, limit);
}

Blocks::Usage BlockService::usage() const {
  Usage usage;
  usage.used_bytes = segments_.live_bytes();
  usage.reclaimable_bytes = segments_.dead_bytes();
  usage.free_bytes = space_.free_bytes;
  usage.total_bytes = space_.total_bytes;
  usage.copies_owed = debts_;
  usage.quarantined = segments_.quarantined();
  return usage;
}

Task<Result<PeerMessage>> BlockService::serve(NodeId, PeerMessage request) {
  CO_TRY(BlockMessage message, decode_block_message(request.head));
  PeerMessage reply;
  switch (message.kind) {
    case BlockMessageKind::kPut: {
      if (crc32c(request.body.view()) != message.crc)
        co_return fail(ErrorCode::kCorrupt, "a block changed on its way");
      size_t held = kib(request.body.size());
      if (!incoming_.try_acquire(held))
        co_return fail(ErrorCode::kOverloaded, "too many blocks arrive at once");
      Status put = co_await put_here(std::move(message), std::move(request.body));
      incoming_.release(held);
      CO_TRY_STATUS(std::move(put));
      co_return reply;
    }
    case BlockMessageKind::kGet: {
      CO_TRY(SegmentStore::Stored stored,
             co_await segments_.get(message.id, message.offset, message.size));
      Writer(reply.head).u32(crc32c(stored.bytes.view()));
      reply.body = std::move(stored.bytes);
      co_return reply;
    }
    case BlockMessageKind::kHas:
      // A refused version is as good as there: it must not be sent.
      reply.head = segments_.has(message.id) || segments_.refused(message.id.version) ? "1" : "0";
      co_return reply;
    case BlockMessageKind::kFetch: {
      CO_TRY(auto record, co_await segments_.read_record(message.id));
      message.home = record.first.home;
      message.owner = record.first.owner;
      message.crc = crc32c(record.second.view());
      reply.head = encode_block_message(message);
      reply.body = std::move(record.second);
      co_return reply;
    }
    case BlockMessageKind::kSettled: settled(message.ids); co_return reply;
  }
  co_return fail(ErrorCode::kInvalid, "an unknown block message");
}

Task<void> BlockService::run() {
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

Task<Result<size_t>> BlockService::settle_debts() {
  std::vector<BlockId> owed;
  uint64_t count = 0;
  std::string begin(1, static_cast<char>(TableId::kBlockDebts));
  std::string end(1, static_cast<char>(static_cast<uint8_t>(TableId::kBlockDebts) + 1));
  auto rows = kv_.scan(begin, end);
  TimePoint now = runtime_.clock.now();
  for (; rows->valid(); rows->next()) {
    Reader r(rows->key().substr(1));
    BlockId id;
    id.version = VersionId::from_bytes(r.raw(VersionId::kSize)).value_or(VersionId{});
    id.index = r.u32_be();
    auto young = young_.find(hash_of(id));
    if (young != young_.end() && now - young->second < kYoungFor) continue;
    ++count;
    // On from where the last round ended: debts to a node that is away must not hide the others.
    if (debt_cursor_ < id && owed.size() < kDebtsPerRound) owed.push_back(id);
  }
  CO_TRY_STATUS(rows->status());
  rows.reset();
  debts_ = count;
  debt_cursor_ = owed.size() == kDebtsPerRound ? owed.back() : BlockId();
  auto away = std::make_shared<std::set<NodeId>>();
  size_t done = 0;
  for (const BlockId& id : owed) {
    if (scope_.stop_requested()) break;
    auto settled_one = co_await settle(id, away);
    if (!settled_one) log_debug("a debt stays: {}", to_string(settled_one.error()));
    if (settled_one && *settled_one) {
      ++done;
      if (debts_ > 0) --debts_;
    }
  }
  co_return done;
}

// Makes sure that every replica has the block. True: settled. `away`: replicas that did not answer
// in this round; they are not asked again, and the others get their copies meanwhile.
Task<Result<bool>> BlockService::settle(BlockId id, std::shared_ptr<std::set<NodeId>> away) {
  std::vector<BlockId> one;
  one.push_back(id);
  if (!segments_.has(id)) {  // dropped, or set aside: nothing to give
    settled(one);
    co_return true;
  }
  CO_TRY(RecordHead head, co_await segments_.head_of(id));
  bool all = true;
  for (const NodeId& node : replicas_of(head.home).all()) {
    if (node == peers_.self()) continue;
    if (away->contains(node) || !topology_.alive(node)) {
      all = false;
      continue;
    }
    Status brought = co_await bring(id, node);
    if (brought) continue;
    log_debug("{} does not take a block: {}", short_name(node), to_string(brought.error()));
    away->insert(node);
    all = false;
  }
  if (all) settled(one);
  co_return all;
}

// The node has the block when it completes, or has refused its version.
Task<Status> BlockService::bring(BlockId id, NodeId node) {
  BlockMessage message;
  message.id = id;
  message.kind = BlockMessageKind::kHas;
  PeerMessage ask;
  ask.head = encode_block_message(message);
  CO_TRY(PeerMessage has, co_await peers_.call(node, PeerService::kBlock, std::move(ask),
                                               runtime_.clock.after(kSettleTimeout)));
  if (has.head == "1") co_return Status();
  CO_TRY(auto record, co_await segments_.read_record(id));
  message.kind = BlockMessageKind::kPut;
  message.home = record.first.home;
  message.owner = std::move(record.first.owner);
  message.crc = crc32c(record.second.view());
  PeerMessage push;
  push.head = encode_block_message(message);
  push.body = std::move(record.second);
  auto pushed = co_await peers_.call(node, PeerService::kBlock, std::move(push),
                                     runtime_.clock.after(kSettleTimeout));
  if (!pushed && !pushed.is(ErrorCode::kStale))
    co_return tl::unexpected<Error>(std::move(pushed).error());
  co_return Status();
}

}  // namespace covey
