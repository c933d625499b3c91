// Settling a partition while the layout is joint.
#include "tests/unit/sync/sync_cluster.h"

using namespace covey;

namespace {

// From nodes 0, 1, 2 to nodes 2, 3, 4.
struct Moving : SyncCluster {
  Moving() : SyncCluster(5) {
    joint = *state;
    joint.epoch = 2;
    joint.next = layout(2, {2, 3, 4});
    fresh = joint;
    fresh.epoch = 3;
    fresh.current = *joint.next;
    fresh.next.reset();
  }
  SettleReport settle(size_t at) {
    auto report = loop.run(nodes[at]->now->sync->settle(0, soon(60)));
    CHECK(report.has_value());
    return *report;
  }
  LayoutState joint, fresh;
};

}  // namespace

TEST_CASE("new replicas catch up while joint, the partition settles, and the new layout serves") {
  Moving c;
  for (int i = 0; i < 500; ++i) c.put(0, "k" + std::to_string(i), "+v" + std::to_string(i));
  c.remove(0, "k7");
  Fence fence{BucketId{}, 4};
  fence.bucket.bytes[0] = 9;
  REQUIRE(c.loop.run(c.nodes[0]->now->service->fence(0, fence, c.soon())).has_value());
  for (size_t i = 0; i < 5; ++i) c.adopt(i, c.joint);
  auto refused = c.loop.run(c.nodes[0]->now->sync->catch_up(1, c.soon()));
  REQUIRE(refused.has_value());
  for (size_t i : {3, 4}) {
    auto report = c.loop.run(c.nodes[0]->now->sync->catch_up_at(c.nodes[i]->id, 0, c.soon()));
    REQUIRE(report.has_value());
    EXPECT(report->complete());
    EXPECT(report->rows_pulled == 501);
  }
  SettleReport report = c.settle(0);
  EXPECT(report.done);
  EXPECT(report.epoch == 2);
  EXPECT(c.nodes[0]->now->sync->settled_epoch(0) == 2);
  for (size_t i = 0; i < 5; ++i) c.adopt(i, c.fresh);
  c.crash(0), c.crash(1), c.crash(2);
  EXPECT(c.read(3, "k7") == std::nullopt);
  for (int i = 0; i < 500; i += 50) {
    if (i == 7) continue;
    EXPECT(c.read(4, "k" + std::to_string(i)) == "+v" + std::to_string(i));
  }
  EXPECT(c.marks(3)[table_begin(TableId::kFences) + std::string(fence.bucket.view())].rank.seq ==
         4);
}

TEST_CASE("settling writes again what new replicas do not have, and needs both quorums") {
  Moving c;
  for (int i = 0; i < 100; ++i) c.put(0, "k" + std::to_string(i), "v" + std::to_string(i));
  for (size_t i = 0; i < 5; ++i) c.adopt(i, c.joint);
  // No new replica has caught up: every key is written again under joint.
  SettleReport report = c.settle(0);
  EXPECT(report.done);
  EXPECT(report.settled == 100);
  for (size_t i = 0; i < 5; ++i) c.adopt(i, c.fresh);
  c.crash(0), c.crash(1), c.crash(2);
  for (int i = 0; i < 100; ++i)
    EXPECT(c.read(3, "k" + std::to_string(i)) == "v" + std::to_string(i));
}

TEST_CASE("nothing is settled without a quorum of the old set that has adopted joint") {
  Moving c;
  for (int i = 0; i < 10; ++i) c.put(0, "k" + std::to_string(i), "v");
  for (size_t i = 1; i < 5; ++i) c.adopt(i, c.joint);
  c.crash(1);  // of the old set only node 2 has adopted joint and lives
  auto report = c.loop.run(c.nodes[2]->now->sync->settle(0, c.soon(20)));
  EXPECT((!report.has_value() || !report->done));
  c.adopt(0, c.joint);
  EXPECT(c.settle(2).done);
}

TEST_CASE("an uncommitted row that hides a chosen one is written again, whatever lies beneath") {
  Moving c;
  c.put(0, "a", "chosen");
  c.loop.run_for(std::chrono::seconds(1));
  for (size_t i = 0; i < 5; ++i) c.adopt(i, c.joint);
  WriteBatch batch;
  Entry entry;
  entry.rank.ballot = Ballot{2, 50, 7, 1};
  entry.row = "hides";
  batch.put(register_store_key(SyncCluster::key("a")), encode_entry(entry));
  REQUIRE(c.loop.run(c.nodes[1]->now->kv->write(std::move(batch))).has_value());
  c.nodes[1]->now->service->purged(0);
  c.crash(0);  // the quorum of the old set is 1 and 2: the hiding row is the highest there
  EXPECT(c.settle(2).done);
  for (size_t i = 1; i < 5; ++i) c.adopt(i, c.fresh);
  c.crash(1), c.crash(2);
  EXPECT(c.read(3, "a") == "hides");
}
