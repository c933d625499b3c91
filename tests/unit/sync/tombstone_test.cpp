// Tombstones are dropped on proof alone, and what was deleted stays deleted.
#include "store/sync/purge.h"
#include "tests/unit/sync/sync_cluster.h"

using namespace covey;

namespace {

Result<size_t> collect(SyncCluster& c, size_t at) {
  return c.loop.run(c.nodes[at]->now->sync->collect_tombstones(0, c.soon()));
}

std::vector<std::string> list(SyncCluster& c, size_t at) {
  RangeQuery query;
  query.table = TableId::kHeads;
  query.end = "z";
  query.limit = 100;
  auto page = c.loop.run(c.nodes[at]->now->service->range(query, c.soon()));
  CHECK(page.has_value());
  std::vector<std::string> keys;
  for (const RangeItem& item : page->items) keys.push_back(item.key);
  return keys;
}

}  // namespace

TEST_CASE("tombstones are dropped when all replicas have them; reads and listings stay right") {
  SyncCluster c;
  for (int i = 0; i < 20; ++i) c.put(0, "k" + std::to_string(i), "v");
  for (int i = 0; i < 20; i += 2) c.remove(0, "k" + std::to_string(i));
  c.loop.run_for(std::chrono::seconds(1));
  const std::vector<std::string> left = list(c, 0);
  REQUIRE(left.size() == 10);
  EXPECT(*collect(c, 0) == 0);  // the first call marks what the next may drop
  EXPECT(*collect(c, 0) == 10);
  EXPECT(c.marks(0).size() == 10);
  EXPECT(c.marks(1).size() == 20);
  // One replica has dropped them, two have not.
  for (size_t i = 0; i < 3; ++i) {
    EXPECT(list(c, i) == left);
    EXPECT(c.read(i, "k4") == std::nullopt);
  }
  EXPECT(c.marks(0).size() == 10);  // reading did not bring them back
  EXPECT(*collect(c, 1) == 0);
  EXPECT(*collect(c, 1) == 10);
  EXPECT(*collect(c, 2) == 0);
  EXPECT(*collect(c, 2) == 10);
  EXPECT(c.marks(2).size() == 10);
  for (size_t i = 0; i < 3; ++i) EXPECT(c.catch_up(i).rows_pulled == 0);
  c.put(2, "k4", "again");
  c.loop.run_for(std::chrono::seconds(1));
  c.crash(0);
  EXPECT(c.read(1, "k4") == "again");
  EXPECT(list(c, 2).size() == 11);
}

TEST_CASE("nothing is dropped while a replica is away, and what it has does not come back") {
  SyncCluster c;
  c.put(0, "a", "x");
  c.put(0, "b", "x");
  c.loop.run_for(std::chrono::seconds(1));
  c.crash(2);
  c.remove(0, "a");
  c.loop.run_for(std::chrono::seconds(1));
  EXPECT(*collect(c, 0) == 0);
  EXPECT(collect(c, 0).is(ErrorCode::kUnavailable));
  EXPECT(c.marks(0).size() == 2);
  c.start(2);
  // It still has the row that was deleted: no proof, so nothing is dropped.
  EXPECT(*collect(c, 0) == 0);
  EXPECT(*collect(c, 0) == 0);
  EXPECT(c.read(2, "a") == std::nullopt);
  EXPECT(c.catch_up(2).complete());
  EXPECT(*collect(c, 0) == 1);
  EXPECT(*collect(c, 1) == 0);
  EXPECT(*collect(c, 1) == 1);
  // Node 2 has the tombstone, the others have dropped it.
  EXPECT(c.catch_up(2).complete());
  EXPECT(c.read(2, "a") == std::nullopt);
  EXPECT(list(c, 2) == std::vector<std::string>{"b"});
  EXPECT(*collect(c, 2) == 0);
  EXPECT(*collect(c, 2) == 1);
  for (size_t i = 0; i < 3; ++i) EXPECT(c.marks(i).size() == 1);
}

TEST_CASE("a proof under one layout epoch drops nothing under the next") {
  SyncCluster c;
  c.put(0, "a", "x");
  c.remove(0, "a");
  c.loop.run_for(std::chrono::seconds(1));
  EXPECT(*collect(c, 0) == 0);
  Rank rank = c.marks(0).begin()->second.rank;
  LayoutState joint = *c.state;
  joint.epoch = 2;
  joint.next = c.layout(2, {0, 1, 2});
  c.adopt(0, joint);
  EXPECT(collect(c, 0).is(ErrorCode::kUnavailable));  // the others are still under the old one
  auto late = c.loop.run(c.nodes[0]->now->service->collect(0, 1, {{SyncCluster::key("a"), rank}}));
  EXPECT(late.is(ErrorCode::kStale));
  c.adopt(1, joint), c.adopt(2, joint);
  EXPECT(*collect(c, 0) == 1);
}

TEST_CASE("purging forgets a partition and nothing else; what is entered starts empty") {
  SyncCluster c;
  c.put(0, "a", "+x");
  RegisterKey other = SyncCluster::key("a", 1);
  Mutation m;
  m.operation = c.rng.id<OperationId>();
  m.body = "Pz";
  REQUIRE(c.loop.run(c.nodes[0]->now->service->mutate(other, m, c.soon())).has_value());
  Fence fence{BucketId{}, 4};
  fence.bucket.bytes[0] = 9;
  REQUIRE(c.loop.run(c.nodes[0]->now->service->fence(0, fence, c.soon())).has_value());
  Kv& kv = *c.nodes[0]->now->kv;
  std::function<bool()> never = [] { return false; };
  EXPECT(c.loop.run(purge_partition(kv, 0, never)).is(ErrorCode::kCancelled));
  EXPECT_FALSE(*partition_is_empty(kv, 0));
  REQUIRE(c.loop.run(purge_partition(kv, 0)).has_value());
  EXPECT(*partition_is_empty(kv, 0));
  EXPECT_FALSE(*partition_is_empty(kv, 1));
  EXPECT_FALSE(c.has_attachment(0, "+x", "b"));
}
