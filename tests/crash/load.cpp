#include "tests/crash/load.h"

#include <fmt/core.h>

#include "base/core/codec.h"

namespace covey {
namespace {

constexpr int kTriesMax = 200;  // of a write that is refused for now
constexpr PartitionId kHomes = 3;

std::string name_of(size_t writer, uint64_t n) {
  std::string name = fmt::format("w{}-{}", writer, n);
  // Some need a namespace of their own in LMDB.
  return n % 4 == 3 ? std::string(500 + n * 40, 'n') + name : name;
}

bool not_now(const Status& status) { return status.is(ErrorCode::kOverloaded); }

// Nothing was done.
bool refused(const Status& status) { return not_now(status) || status.is(ErrorCode::kNoSpace); }

void note(Load& load, const Status& status) {
  if (load.may_be_full && refused(status)) return;
  if (!status && !load.trouble) load.trouble = status.error();
}

BlockKey new_block(Load& load, uint64_t stamp, uint32_t index) {
  BlockKey key;
  key.home = static_cast<PartitionId>(stamp % kHomes);
  std::string id;
  Writer(id).u64(stamp);
  Writer(id).u64(load.run);
  key.id.version = *VersionId::from_bytes(id);
  // A version's blocks are dropped together: each block has a version of its own.
  key.id.version.bytes[15] = static_cast<uint8_t>(index);
  key.id.index = index;
  return key;
}

Task<Status> put_block(Load& load, BlockKey key, uint32_t size) {
  load.expected.blocks[key].size = size;
  Status done;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    WriteBatch debt;
    debt.put(debt_key(key), "owed");
    BlockOwner owner;
    owner.key = "crash/" + key.id.version.hex();
    Blob bytes = Blob::own(block_bytes(key, size));
    done = co_await load.store.segments().put(key, std::move(owner), std::move(bytes),
                                              std::move(debt));
    if (!not_now(done)) break;
    co_await load.store.loop().sleep(std::chrono::milliseconds(1));
  }
  if (done) load.expected.blocks[key].put_acknowledged = load.now();
  co_return done;
}

// The note of it stands before the write begins; a write that was refused takes it back.
Task<Status> write_row(Load& load, std::string name, RowWrite write) {
  Status done;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    WriteBatch batch;
    if (write.stamp == 0) {
      batch.erase(row_key(name));
      batch.erase(twin_key(name));
    } else {
      batch.put(row_key(name), row_value(name, write));
      batch.put(twin_key(name), fmt::format("{}", write.stamp));
    }
    std::vector<RowWrite>& writes = load.expected.rows[name];
    write.begun = load.now();
    writes.push_back(write);
    done = co_await load.store.kv().write(std::move(batch));
    if (done) {
      load.expected.rows[name].back().acknowledged = load.now();
      load.expected.sequences.emplace_back(load.now(), load.store.kv().durable_sequence());
    }
    if (refused(done)) load.expected.rows[name].pop_back();
    if (!not_now(done)) break;
    co_await load.store.loop().sleep(std::chrono::milliseconds(1));
  }
  co_return done;
}

Task<Status> drop_blocks(Load& load, std::vector<BlockKey> blocks) {
  for (const BlockKey& key : blocks) {
    load.expected.blocks[key].drop_begun = load.now();
    Status done;
    for (int tries = 0; tries < kTriesMax; ++tries) {
      done = co_await load.store.segments().drop(key.home, key.id.version);
      if (!not_now(done)) break;
      co_await load.store.loop().sleep(std::chrono::milliseconds(1));
    }
    if (!done) co_return done;
    load.expected.blocks[key].drop_acknowledged = load.now();
  }
  co_return Status();
}

Task<Status> replace(Load& load, std::string name, bool erase, size_t blocks) {
  SimRng& rng = load.store.rng();
  std::vector<BlockKey> old;
  auto before = load.expected.rows.find(name);
  if (before != load.expected.rows.end() && !before->second.empty())
    old = before->second.back().blocks;
  RowWrite write;
  if (!erase) {
    write.stamp = ++load.expected.last_stamp;
    for (uint32_t i = 0; i < blocks; ++i) {
      BlockKey key = new_block(load, write.stamp, i);
      uint32_t size = static_cast<uint32_t>(1 + rng.below(14'000));
      CO_TRY_STATUS(co_await put_block(load, key, size));
      write.blocks.push_back(key);
    }
  }
  CO_TRY_STATUS(co_await write_row(load, name, std::move(write)));
  co_return co_await drop_blocks(load, std::move(old));
}

Task<void> writer(Load& load, size_t number) {
  SimRng rng = load.store.rng().split("writer");
  for (size_t round = 0; round < load.rounds && !load.trouble; ++round) {
    uint64_t dice = rng.below(20);
    Status done;
    if (dice == 0) {
      done = co_await load.store.kv().fold();
    } else if (dice <= 2) {
      auto compacted = co_await load.store.segments().compact_one();
      if (!compacted) done = tl::unexpected<Error>(compacted.error());
    } else {
      std::string name = name_of(number, rng.below(load.names));
      size_t blocks = dice < 12 ? 0 : 1 + rng.below(2);
      done = co_await replace(load, std::move(name), dice <= 5, blocks);
    }
    note(load, done);
    co_await load.store.loop().sleep(std::chrono::microseconds(rng.below(400)));
  }
}

}  // namespace

void run_load(Load& load) {
  Scope scope;
  for (size_t number = 0; number < load.writers; ++number) scope.spawn(writer(load, number));
  load.store.loop().run(scope.join());
}

}  // namespace covey
