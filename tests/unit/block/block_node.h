// One simulated machine with its metadata store and its segments, that can lose power and come
// back.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/core/log.h"
#include "store/block/segment_store.h"
#include "store/meta/memory_target.h"
#include "store/meta/open_kv.h"
#include "tests/sim/sim_host.h"
#include "tests/unit/test.h"

namespace covey {

class BlockNode {
 public:
  BlockNode(SimLoop& loop, SimRng& seed, std::string_view name) : host(loop, seed, name) {
    set_log_level("off");  // most tests break things on purpose
    options.dirs = {"/data"};
    options.segment_bytes = 1 * kMiB;
    options.fatal = [this](const Error&) { ++fatals; };
  }

  Status start() {
    uint64_t incarnation = host.disk.crashes();
    auto dead = [this, incarnation] { return host.disk.crashes() != incarnation; };
    target = std::make_unique<MemoryTarget>(host.loop, rows, dead);
    Result<std::unique_ptr<Kv>> opened = host.loop.run(open_store());
    if (!opened) return tl::unexpected<Error>(opened.error());
    kv = std::move(*opened);
    store = std::make_unique<SegmentStore>(options, host.runtime(), *kv);
    return host.loop.run(store->open([this](BlockKey key) { recovered.push_back(key); }));
  }
  void stop() {
    host.loop.run(store->close());
    host.loop.run(kv->close());
    store.reset(), kv.reset(), target.reset();
  }

  Task<Result<std::unique_ptr<Kv>>> open_store() {
    KvOptions meta;
    meta.dir = "/meta", meta.fatal = options.fatal;
    meta.journal_file_bytes = 1 * kMiB, meta.fold_bytes = fold_bytes;
    return open_kv(std::move(meta), host.runtime(), *target);
  }

  static std::string payload(const BlockId& id, size_t size) {
    std::string bytes(size, '\0');
    SimRng rng(id.index * 1000003ull + id.version.bytes[0]);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i % 61 + rng.next() % 7);
    return bytes;
  }
  static BlockKey at(const BlockId& id) { return {3, id}; }
  Status drop_now(const BlockId& id) { return host.loop.run(store->drop(3, id.version)); }
  static BlockOwner owner(const BlockId& id) {
    BlockOwner owner;
    owner.key = "photos/" + id.version.hex();
    return owner;
  }
  static Task<Status> put(SegmentStore& store, BlockId id, std::string bytes) {
    WriteBatch none;
    co_return co_await store.put(at(id), owner(id), Blob::own(std::move(bytes)), std::move(none));
  }
  Status put_now(const BlockId& id, size_t size) {
    return host.loop.run(put(*store, id, payload(id, size)));
  }
  Result<Blob> get_now(const BlockId& id, uint32_t offset, uint32_t size) {
    auto got = host.loop.run(store->get(at(id), offset, size));
    if (!got) return tl::unexpected<Error>(got.error());
    return got->bytes;
  }

  SimHost host;
  MemoryRows rows;
  SegmentOptions options;
  size_t fold_bytes = 64 * kKiB;
  int fatals = 0;
  std::vector<BlockKey> recovered;
  std::unique_ptr<MemoryTarget> target;
  std::unique_ptr<Kv> kv;
  std::unique_ptr<SegmentStore> store;
};

inline BlockId block(uint8_t version, uint32_t index) {
  BlockId id;
  id.version.bytes[0] = version, id.version.bytes[15] = 0xff, id.index = index;
  return id;
}

}  // namespace covey
