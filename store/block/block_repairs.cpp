// The repair queue: blocks that this node should have and of which it has no good copy, because a
// read or the scrub found it bad, or it was not there. They are fetched at once, and again until
// they come, or until no replica has them and one has refused them for good. The queue survives a
// restart; what it loses in a crash the scrub finds again.
#include <algorithm>
#include <chrono>

#include "base/core/log.h"
#include "store/block/block_rows.h"
#include "store/block/block_service.h"

namespace covey {
namespace {

constexpr size_t kQueueMax = 65536;
constexpr size_t kAtOnce = 4;
constexpr size_t kPerRound = 1024;
constexpr Duration kLook = std::chrono::seconds(1);
constexpr int kLooksPerRound = 10;  // what could not be fetched is tried again after so many
constexpr Duration kFetchTimeout = std::chrono::seconds(10);

std::string row_of(const BlockKey& key) { return block_row_key(TableId::kBlockRepairs, key); }

}  // namespace

void BlockService::wanted(const BlockKey& key) {
  if (repairs_waiting_ >= kQueueMax) return;  // the scrub finds it again
  WriteBatch batch;
  batch.put(row_of(key), "");
  Status kept = kv_.write_unlogged(std::move(batch));
  if (!kept) log_warn("a repair waits for the next scrub: {}", to_string(kept.error()));
  ++repairs_waiting_;
  repairs_fresh_ = true;
}

bool BlockService::awaits_repair(const BlockKey& key) const {
  auto row = kv_.get(row_of(key));
  return !row || row->has_value();  // of what cannot be read nobody says that it is not there
}

Result<std::vector<BlockKey>> BlockService::waiting_repairs(PartitionId home) {
  std::vector<BlockKey> keys;
  std::string begin = block_row_prefix(TableId::kBlockRepairs, home);
  auto rows = kv_.scan(begin, block_row_prefix(TableId::kBlockRepairs, home + 1));
  for (; rows->valid(); rows->next())
    if (auto key = decode_block_row_key(rows->key())) keys.push_back(*key);
  TRY_STATUS(rows->status());
  return keys;
}

void BlockService::give_up_repairs(const std::vector<BlockKey>& keys) {
  WriteBatch batch;
  for (const BlockKey& key : keys) batch.erase(row_of(key));
  repairs_waiting_ -= std::min<uint64_t>(repairs_waiting_, keys.size());
  Status erased = kv_.write_unlogged(std::move(batch));
  if (!erased) log_debug("repairs stay for now: {}", to_string(erased.error()));
}

Task<void> BlockService::repair_loop() {
  for (int looks = 0; !scope_.stop_requested(); ++looks) {
    if (repairs_fresh_ || looks % kLooksPerRound == 0) {
      repairs_fresh_ = false;
      Status done = co_await repair_round();
      if (!done) log_debug("repairs: {}", to_string(done.error()));
    }
    bool more = co_await scope_.sleep(runtime_.clock, kLook);
    if (!more) co_return;
  }
}

Task<Status> BlockService::repair_round() {
  std::vector<BlockKey> keys;
  uint64_t count = 0;
  auto rows = kv_.scan(table_begin(TableId::kBlockRepairs), table_end(TableId::kBlockRepairs));
  for (; rows->valid(); rows->next()) {
    const BlockKey key = decode_block_row_key(rows->key()).value_or(BlockKey{});
    ++count;
    if (repair_cursor_ < key && keys.size() < kPerRound) keys.push_back(key);
  }
  CO_TRY_STATUS(rows->status());
  rows.reset();
  repairs_waiting_ = count;
  repair_cursor_ = keys.size() == kPerRound ? keys.back() : BlockKey();
  if (keys.size() == kPerRound) repairs_fresh_ = true;  // go on with the rest
  Scope scope;
  Semaphore slots(kAtOnce);
  for (const BlockKey& key : keys) {
    co_await slots.acquire();
    if (scope_.stop_requested()) {
      slots.release();
      break;
    }
    scope.spawn(repair_one(key, slots));
  }
  co_await scope.join();
  co_return Status();
}

// A replica can be left with a row of an object that others have given back: the manifest of one
// whose head never came here, the parts of an upload that stays 'completing'. Who refused the
// version for good did so on proof that no row will name it again (a displaced head, an ended
// upload: store/objects/reclaim.h; an orphan: docs/adr/0003-orphans.md). Replicas that joined since
// know nothing of it, so one such answer is enough; but only where all others lack the block, so
// that nobody could bring it anyway. Should a chosen row lift a refusal yet nothing is lost: the
// comparison looks for what rows name, in the queue or not.
Task<void> BlockService::repair_one(BlockKey key, Semaphore& slots) {
  std::vector<NodeId> replicas = replicas_of(key.home).all();
  bool ours = std::find(replicas.begin(), replicas.end(), peers_.self()) != replicas.end();
  auto given_back = [&] { return segments_.refused_for_good(key.id.version).value_or(false); };
  bool done = !ours || segments_.has(key) || given_back();
  size_t lacking = 0, refusing = 0;
  for (const NodeId& node : replicas) {
    if (done || node == peers_.self() || !topology_.alive(node)) continue;
    auto copy = co_await fetch(node, key, runtime_.clock.after(kFetchTimeout));
    Status fetched;
    if (copy) {
      fetched = co_await keep(std::move(*copy));
    } else {
      fetched = tl::unexpected<Error>(std::move(copy).error());
    }
    done = fetched.has_value() || given_back();
    if (fetched) {
      ++repaired_;
      log_info("block {} {} was repaired from {}", key.id.version.hex(), key.id.index,
               short_name(node));
    } else {
      log_debug("block {} {} is not repaired from {}: {}", key.id.version.hex(), key.id.index,
                short_name(node), to_string(fetched.error()));
    }
    if (done || !fetched.is(ErrorCode::kNotFound)) continue;
    ++lacking;
    auto refused = co_await refused_at(node, key, runtime_.clock.after(kFetchTimeout));
    if (refused && *refused) ++refusing;
  }
  bool unchanged = replicas_of(key.home).all() == replicas;
  if (!done && refusing > 0 && lacking + 1 == replicas.size() && unchanged) {
    done = true;
    log_info("block {} {} is not repaired: no replica has it, and its version was given back",
             key.id.version.hex(), key.id.index);
  }
  if (done) {
    WriteBatch batch;
    batch.erase(row_of(key));
    Status erased = kv_.write_unlogged(std::move(batch));
    if (!erased) log_debug("a repair stays for now: {}", to_string(erased.error()));
    if (repairs_waiting_ > 0) --repairs_waiting_;
  }
  slots.release();
}

}  // namespace covey
