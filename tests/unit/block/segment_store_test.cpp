#include "store/block/segment_store.h"

#include "store/meta/refused.h"
#include "tests/unit/block/block_node.h"

using namespace covey;

TEST_CASE("segments: put, ranges, restart, drop, space comes back") {
  SimLoop loop;
  SimRng seed(1);
  BlockNode node(loop, seed, "a");
  REQUIRE(node.start());
  std::vector<uint32_t> sizes{0, 1, 5000, 65536, 65537, 200000, 300000};
  for (uint32_t i = 0; i < sizes.size(); ++i) REQUIRE(node.put_now(block(1, i), sizes[i]));
  for (uint32_t i = 0; i < 10; ++i) REQUIRE(node.put_now(block(2, i), 200000));
  node.stop();
  REQUIRE(node.start());
  for (uint32_t i = 0; i < sizes.size(); ++i) {
    BlockId id = block(1, i);
    std::string whole = BlockNode::payload(id, sizes[i]);
    Result<Blob> got = node.get_now(id, 0, sizes[i]);
    REQUIRE(got);
    EXPECT(got->view() == whole);
    for (uint32_t at = 0; at <= sizes[i]; at += 33333) {
      uint32_t size = std::min<uint32_t>(70000, sizes[i] - at);
      got = node.get_now(id, at, size);
      REQUIRE(got);
      EXPECT(got->view() == std::string_view(whole).substr(at, size));
    }
    EXPECT(node.get_now(id, sizes[i] + 1, 1).is(ErrorCode::kInvalid));
  }
  uint64_t used = node.store->live_bytes();
  REQUIRE(node.drop_now(block(2, 0)));
  EXPECT(node.get_now(block(2, 3), 0, 1).is(ErrorCode::kNotFound));
  EXPECT(node.put_now(block(2, 77), 5000).is(ErrorCode::kStale));
  EXPECT(node.store->live_bytes() < used - 2000000);
  EXPECT(node.store->dead_bytes() >= 2000000);
  uint64_t on_disk = node.host.disk.used_bytes();
  while (*loop.run(node.store->compact_one())) {
  }
  EXPECT(node.host.disk.used_bytes() < on_disk - 1000000);
  for (uint32_t i = 0; i < sizes.size(); ++i)
    EXPECT(node.get_now(block(1, i), 0, sizes[i])->view() ==
           BlockNode::payload(block(1, i), sizes[i]));
  node.stop();
  EXPECT(node.fatals == 0);
}

TEST_CASE("segments: of a block that two bring at the same time one record is garbage") {
  SimLoop loop;
  SimRng seed(6);
  BlockNode node(loop, seed, "a");
  REQUIRE(node.start());
  REQUIRE(node.put_now(block(1, 0), 9000));
  uint64_t one = node.store->live_bytes();
  Scope scope;
  int good = 0;
  auto put = [](BlockNode& n, int* count) -> Task<void> {
    BlockId id = block(1, 1);
    Status done = co_await BlockNode::put(*n.store, id, BlockNode::payload(id, 9000));
    *count += done.has_value();
  };
  for (int i = 0; i < 3; ++i) scope.spawn(put(node, &good));
  loop.run(scope.join());
  EXPECT(good == 3);
  EXPECT(node.store->live_bytes() == 2 * one);
  EXPECT(node.store->dead_bytes() == 2 * one);
  node.stop();
  REQUIRE(node.start());
  EXPECT(node.store->live_bytes() == 2 * one);
  node.stop();
}

TEST_CASE("segments: a block that comes after the end is refused") {
  SimLoop loop;
  SimRng seed(7);
  BlockNode node(loop, seed, "a");
  REQUIRE(node.start());
  REQUIRE(node.put_now(block(1, 0), 9000));
  loop.run(node.store->close());
  EXPECT(node.put_now(block(1, 1), 9000).is(ErrorCode::kUnavailable));
  node.stop();
  REQUIRE(node.start());
  REQUIRE(node.put_now(block(1, 1), 9000));
  node.stop();
  EXPECT(node.fatals == 0);
}

TEST_CASE("segments: concurrent puts share a sync") {
  SimLoop loop;
  SimRng seed(2);
  BlockNode node(loop, seed, "a");
  REQUIRE(node.start());
  node.host.disk.faults.sync_latency = std::chrono::milliseconds(5);
  REQUIRE(node.put_now(block(1, 100), 5000));  // opens the segment
  uint64_t syncs = node.host.disk.syncs_done();
  Scope scope;
  int good = 0;
  auto one = [](BlockNode& n, uint32_t i, int* count) -> Task<void> {
    BlockId id = block(1, i);
    std::string bytes = BlockNode::payload(id, 9000);
    Status put = co_await BlockNode::put(*n.store, id, std::move(bytes));
    if (put) ++*count;
  };
  for (uint32_t i = 0; i < 32; ++i) scope.spawn(one(node, i, &good));
  loop.run(scope.join());
  EXPECT(good == 32);
  EXPECT(node.host.disk.syncs_done() <= syncs + 3);
  node.stop();
}

TEST_CASE("segments: flipped bits are noticed, the copy is set aside, a new one takes its place") {
  SimLoop loop;
  SimRng seed(3);
  BlockNode node(loop, seed, "a");
  REQUIRE(node.start());
  for (uint32_t i = 0; i < 40; ++i) REQUIRE(node.put_now(block(1, i), 20000));
  std::string path;
  for (const std::string& p : node.host.disk.paths())
    if (p.ends_with(".seg")) path = p;
  REQUIRE(!path.empty());
  SimRng rng(4);
  size_t bad = 0;
  for (int n = 0; n < 60; ++n)
    node.host.disk.flip_bit(path, 4096 + rng.below(780000), static_cast<uint8_t>(rng.below(8)));
  for (uint32_t i = 0; i < 40; ++i) {
    Result<Blob> got = node.get_now(block(1, i), 0, 20000);
    if (got) {
      EXPECT(got->view() == BlockNode::payload(block(1, i), 20000));
    } else {
      EXPECT(got.is(ErrorCode::kCorrupt));
      ++bad;
    }
  }
  EXPECT(bad > 5);
  EXPECT(node.store->quarantined() == bad);
  for (uint32_t i = 0; i < 40; ++i) REQUIRE(node.put_now(block(1, i), 20000));  // from a peer
  for (uint32_t i = 0; i < 40; ++i) EXPECT(node.get_now(block(1, i), 0, 20000));
  node.stop();
  REQUIRE(node.start());
  for (uint32_t i = 0; i < 40; ++i) EXPECT(node.get_now(block(1, i), 0, 20000));
  node.stop();
}

// store/sync/orphans.h may take such a refusal back.
TEST_CASE("segments: what is refused only until a judge says more is kept") {
  SimLoop loop;
  SimRng seed(8);
  BlockNode node(loop, seed, "a");
  REQUIRE(node.start());
  const BlockId judged = block(1, 0);
  REQUIRE(node.put_now(judged, 30000));
  for (uint32_t i = 0; i < 30; ++i) REQUIRE(node.put_now(block(2, i), 200000));
  WriteBatch refuse;
  refuse.put(refused_store_key(judged.version), std::string(37, '\x01'));
  REQUIRE(loop.run(node.kv->write(std::move(refuse))));
  EXPECT(node.put_now(block(1, 1), 5000).is(ErrorCode::kStale));
  REQUIRE(node.drop_now(block(2, 0)));
  while (*loop.run(node.store->compact_one())) {
  }
  auto right = [&] {
    Result<Blob> got = node.get_now(judged, 0, 30000);
    return got && got->view() == BlockNode::payload(judged, 30000);
  };
  EXPECT(right());
  node.host.disk.crash_dropping_all();
  node.stop();
  REQUIRE(node.start());
  EXPECT(right());
  REQUIRE(node.drop_now(judged));
  EXPECT_FALSE(right());
  node.stop();
}

TEST_CASE("segments: a full disk refuses puts, serves reads, and deletes make room") {
  SimLoop loop;
  SimRng seed(5);
  BlockNode node(loop, seed, "a");
  REQUIRE(node.start());
  node.host.disk.faults.capacity_bytes = node.host.disk.used_bytes() + 5 * kMiB;
  uint32_t count = 0;
  Status put;
  while ((put = node.put_now(block(static_cast<uint8_t>(count / 5), count), 200000))) ++count;
  EXPECT(put.is(ErrorCode::kNoSpace));
  EXPECT(node.fatals == 0);
  REQUIRE(count >= 15);
  for (uint32_t i = 0; i < count; ++i)
    EXPECT(node.get_now(block(static_cast<uint8_t>(i / 5), i), 0, 200000));
  REQUIRE(node.drop_now(block(0, 0)));
  REQUIRE(node.drop_now(block(1, 0)));
  for (bool more = true; more;) {
    auto compacted = loop.run(node.store->compact_one());
    REQUIRE(compacted);
    more = *compacted;
  }
  EXPECT(node.put_now(block(30, 0), 200000));
  for (uint32_t i = 10; i < count; ++i)
    EXPECT(node.get_now(block(static_cast<uint8_t>(i / 5), i), 0, 200000));
  EXPECT(node.fatals == 0);
  node.stop();
}

namespace {

// Puts until the disk is full; the blocks of five versions take turns, so that no segment is all of
// one of them.
uint32_t fill(BlockNode& node, size_t size) {
  uint32_t count = 0;
  Status put;
  while ((put = node.put_now(block(static_cast<uint8_t>(count % 5), count), size))) ++count;
  EXPECT(put.is(ErrorCode::kNoSpace));
  return count;
}

void compact_all(BlockNode& node) {
  for (bool more = true; more;) {
    auto compacted = node.host.loop.run(node.store->compact_one());
    REQUIRE(compacted);
    more = *compacted;
  }
}

}  // namespace

TEST_CASE("segments: on a full disk deletes make room though every segment is mostly alive") {
  SimLoop loop;
  SimRng seed(7);
  BlockNode node(loop, seed, "a");
  REQUIRE(node.start());
  node.host.disk.faults.capacity_bytes = node.host.disk.used_bytes() + 8 * kMiB;
  uint32_t count = fill(node, 100000);
  REQUIRE(count >= 60);
  // Another program takes the last byte.
  node.host.disk.faults.capacity_bytes = node.host.disk.used_bytes();
  for (int round = 1; round <= 3; ++round) {
    CAPTURE(round);
    REQUIRE(node.drop_now(block(static_cast<uint8_t>(round), 0)));
    compact_all(node);
    loop.run_for(std::chrono::seconds(2));
    uint32_t more = 0;
    while (node.put_now(block(static_cast<uint8_t>(10 + round), more), 100000)) ++more;
    EXPECT(more >= count / 5 - 10);  // what was dropped, but for one segment
    EXPECT(node.host.disk.exists("/data/ballast"));
    if (round == 2) {  // a restart needs no space and seals what is half full
      node.stop();
      REQUIRE(node.start());
    }
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (i % 5 != 0 && i % 5 != 4) continue;
    EXPECT(node.get_now(block(static_cast<uint8_t>(i % 5), i), 0, 100000));
  }
  EXPECT(node.fatals == 0);
  node.stop();
}

TEST_CASE("segments: a restart costs no space") {
  SimLoop loop;
  SimRng seed(8);
  BlockNode node(loop, seed, "a");
  REQUIRE(node.start());
  for (uint32_t i = 0; i < 20; ++i) {
    REQUIRE(node.put_now(block(1, i), 5000));
    node.stop();
    REQUIRE(node.start());
  }
  uint64_t segments = 0;
  for (const std::string& p : node.host.disk.paths())
    if (p.ends_with(".seg")) segments += node.host.disk.file_size(p);
  EXPECT(segments < 20 * 6000);
  for (uint32_t i = 0; i < 20; ++i) EXPECT(node.get_now(block(1, i), 0, 5000));
  node.stop();
}

TEST_CASE("segments: a failed sync is fatal, once, and nothing is acknowledged after it") {
  SimLoop loop;
  SimRng seed(6);
  BlockNode node(loop, seed, "a");
  REQUIRE(node.start());
  REQUIRE(node.put_now(block(1, 0), 5000));
  node.host.disk.faults.fail_syncs = 1;
  EXPECT(node.put_now(block(1, 1), 5000).is(ErrorCode::kIo));
  EXPECT(node.put_now(block(1, 2), 5000).is(ErrorCode::kIo));
  EXPECT(node.fatals == 1);
  EXPECT(node.get_now(block(1, 0), 0, 5000));
  node.stop();
}
