// Puts, drops and compaction at random, power loss at any write: what was acknowledged is there
// with the right bytes, what was dropped stays gone.
#include <map>
#include <set>

#include "tests/unit/block/block_node.h"

using namespace covey;

namespace {

struct Model {
  std::map<BlockId, size_t> stored;
  std::set<uint8_t> dropped;
  std::set<uint8_t> doubtful;  // a drop that was under way at the crash
};

Task<void> put_some(BlockNode& node, BlockId id, size_t size, Model* model) {
  Status put = co_await BlockNode::put(*node.store, id, BlockNode::payload(id, size));
  if (put) model->stored[id] = size;
}

Task<void> drop_one(BlockNode& node, uint8_t version, Model* model) {
  model->doubtful.insert(version);
  Status done = co_await node.store->drop(3, block(version, 0).version);
  if (done) model->dropped.insert(version), model->doubtful.erase(version);
}

Task<void> compact(BlockNode& node) {
  auto done = co_await node.store->compact_one();
  (void)done;
}

void check(BlockNode& node, const Model& model) {
  for (const auto& [id, size] : model.stored) {
    uint8_t version = id.version.bytes[0];
    Result<Blob> got = node.get_now(id, 0, static_cast<uint32_t>(size));
    if (model.dropped.contains(version)) {
      EXPECT(got.is(ErrorCode::kNotFound));
    } else if (!got && model.doubtful.contains(version)) {
      EXPECT(got.is(ErrorCode::kNotFound));
    } else {
      CAPTURE(id.index);
      REQUIRE(got);
      EXPECT(got->view() == BlockNode::payload(id, size));
    }
  }
}

void run_seed(uint64_t number) {
  CAPTURE(number);
  SimLoop loop;
  SimRng seed(number);
  SimRng rng = seed.split("test");
  BlockNode node(loop, seed, "a");
  node.fold_bytes = rng.chance(0.5) ? 4 * kKiB : 256 * kKiB;
  node.host.disk.faults.latency_max = std::chrono::milliseconds(2);
  if (rng.chance(0.3)) node.host.disk.faults.capacity_bytes = 12 * kMiB;  // it will be full
  Model model;
  uint32_t next = 0;
  for (int life = 0; life < 6; ++life) {
    REQUIRE(node.start());
    check(node, model);
    EXPECT(node.store->quarantined() == 0);
    if (life > 0 && rng.chance(0.8)) node.host.disk.crash_after(rng.below(60));
    Scope scope;
    for (int step = 0; step < 60; ++step) {
      uint8_t version = static_cast<uint8_t>(next / 16 + 1);
      uint64_t what = rng.below(20);
      if (what == 0 && version > 2) {
        uint8_t old = static_cast<uint8_t>(1 + rng.below(version - 1u));
        if (!model.dropped.contains(old)) scope.spawn(drop_one(node, old, &model));
      } else if (what == 1) {
        scope.spawn(compact(node));
      } else {
        size_t size = rng.chance(0.2) ? rng.below(300000) : rng.below(20000);
        scope.spawn(put_some(node, block(version, next++), size, &model));
      }
      if (rng.chance(0.5)) loop.run_for(Duration(static_cast<int64_t>(rng.below(4000000))));
    }
    loop.run(scope.join());
    node.host.disk.crash_after(UINT64_MAX);
    if (rng.chance(0.3)) node.host.disk.crash();
    node.stop();
  }
  REQUIRE(node.start());
  check(node, model);
  for (uint8_t v = 1; v <= next / 16 + 1; ++v) {
    REQUIRE(node.drop_now(block(v, 0)));
  }
  EXPECT(node.store->live_bytes() == 0);
  node.stop();
}

}  // namespace

TEST_CASE("segments: random work and power loss") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SUBCASE(std::to_string(seed).c_str()) { run_seed(seed); }
  }
}
