// Debts: every replica that stores a block owes it to the others until it hears that all have it.
#include <cstring>

#include "base/core/crc32c.h"
#include "base/core/log.h"
#include "store/block/block_rows.h"
#include "store/block/block_service.h"

namespace covey {
namespace {

constexpr size_t kDebtsPerRound = 1024;
constexpr Duration kYoungFor = std::chrono::seconds(15);
constexpr Duration kSettleTimeout = std::chrono::seconds(10);

}  // namespace

uint64_t BlockService::hash_of(const BlockId& id) {
  uint64_t hash;
  std::memcpy(&hash, id.version.bytes.data(), sizeof hash);
  return hash ^ (id.index * 0x9e3779b97f4a7c15ull);
}

std::string BlockService::debt_key(const BlockKey& block) {
  return block_row_key(TableId::kBlockDebts, block);
}

void BlockService::recovered(BlockKey key) {
  WriteBatch batch;
  batch.put(debt_key(key), "");
  Status kept = kv_.write_unlogged(std::move(batch));
  if (!kept) log_warn("a recovered block's copies are not checked: {}", to_string(kept.error()));
}

void BlockService::settled(const BlockMessage& message) {
  if (message.epoch != topology_.layout()->epoch) return;
  for (const BlockId& id : message.ids) pay({message.home, id});
}

void BlockService::pay(const BlockKey& key) {
  WriteBatch batch;
  batch.erase(debt_key(key));
  young_.erase(hash_of(key.id));
  Status erased = kv_.write_unlogged(std::move(batch));
  if (!erased) log_debug("a debt stays for now: {}", to_string(erased.error()));
}

Task<Result<size_t>> BlockService::settle_debts() {
  std::vector<BlockKey> owed;
  uint64_t count = 0;
  std::string begin = table_begin(TableId::kBlockDebts);
  std::string end = table_end(TableId::kBlockDebts);
  auto rows = kv_.scan(begin, end);
  TimePoint now = runtime_.clock.now();
  for (; rows->valid(); rows->next()) {
    const BlockKey key = decode_block_row_key(rows->key()).value_or(BlockKey{});
    auto young = young_.find(hash_of(key.id));
    if (young != young_.end() && now - young->second < kYoungFor) continue;
    ++count;
    // On from where the last round ended: debts to a node that is away must not hide the others.
    if (debt_cursor_ < key && owed.size() < kDebtsPerRound) owed.push_back(key);
  }
  CO_TRY_STATUS(rows->status());
  rows.reset();
  debts_ = count;
  debt_cursor_ = owed.size() == kDebtsPerRound ? owed.back() : BlockKey();
  auto away = std::make_shared<std::set<NodeId>>();
  size_t done = 0;
  for (const BlockKey& key : owed) {
    if (scope_.stop_requested()) break;
    auto settled_one = co_await settle(key, away);
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
Task<Result<bool>> BlockService::settle(BlockKey key, std::shared_ptr<std::set<NodeId>> away) {
  if (!segments_.has(key)) {  // dropped, or set aside: nothing to give
    pay(key);
    co_return true;
  }
  uint32_t epoch = topology_.layout()->epoch;
  bool all = true, ours = false;
  for (const NodeId& node : replicas_of(key.home).all()) {
    if (node == peers_.self()) {
      ours = true;
      continue;
    }
    if (away->contains(node) || !topology_.alive(node)) {
      all = false;
      continue;
    }
    Status brought = co_await bring(key, node);
    if (brought) continue;
    log_debug("{} does not take a block: {}", short_name(node), to_string(brought.error()));
    away->insert(node);
    all = false;
  }
  if (!all || topology_.layout()->epoch != epoch) co_return false;
  if (!ours) {  // it came late, or back with a recovery: others hold the partition now
    std::vector<BlockKey> one;
    one.push_back(key);
    CO_TRY_STATUS(co_await segments_.forget(std::move(one)));
  }
  // Last: without a debt nobody would look at what is still here.
  pay(key);
  co_return true;
}

// The node has the block when it completes, or has refused its version.
Task<Status> BlockService::bring(BlockKey key, NodeId node) {
  std::vector<BlockId> one;
  one.push_back(key.id);
  CO_TRY(std::vector<bool> held,
         co_await held_at(node, key.home, std::move(one), runtime_.clock.after(kSettleTimeout)));
  if (held[0]) co_return Status();
  CO_TRY(auto record, co_await segments_.read_record(key));
  BlockMessage message;
  message.kind = BlockMessageKind::kPut;
  message.home = key.home;
  message.id = key.id;
  message.owner = std::move(record.first.owner);
  message.crc = crc32c(record.second.view());
  PeerMessage push;
  push.head = encode_block_message(message);
  push.body = std::move(record.second);
  TimePoint until = runtime_.clock.after(kSettleTimeout);
  CO_TRY(MemoryLease turn, co_await sending_to(node).acquire(push.body.size(), until));
  auto pushed = co_await peers_.call(node, PeerService::kBlock, std::move(push), until);
  if (!pushed && !pushed.is(ErrorCode::kStale))
    co_return tl::unexpected<Error>(std::move(pushed).error());
  co_return Status();
}

}  // namespace covey
