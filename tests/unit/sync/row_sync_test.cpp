// Replicas that were away, and what they take over.
#include "tests/unit/sync/sync_cluster.h"

using namespace covey;

TEST_CASE("a node that was away gets what it missed: rows, overwrites, deletes, attachments") {
  SyncCluster c;
  for (int i = 0; i < 200; ++i) c.put(0, "k" + std::to_string(i), "old" + std::to_string(i));
  c.loop.run_for(std::chrono::seconds(1));
  c.crash(2);
  for (int i = 0; i < 200; i += 2) c.put(0, "k" + std::to_string(i), "new" + std::to_string(i));
  for (int i = 1; i < 200; i += 4) c.remove(1, "k" + std::to_string(i));
  for (int i = 0; i < 300; ++i) c.put(1, "n" + std::to_string(i), "+row" + std::to_string(i));
  Fence fence{BucketId{}, 4};
  fence.bucket.bytes[0] = 9;
  REQUIRE(c.loop.run(c.nodes[0]->now->service->fence(0, fence, c.soon())).has_value());
  c.loop.run_for(std::chrono::seconds(1));
  c.start(2);
  EXPECT(c.marks(2) != c.marks(0));
  RowSyncReport report = c.catch_up(2);
  EXPECT(report.complete());
  EXPECT(report.caught_up());
  EXPECT(report.rows_pulled == 100 + 50 + 300 + 1);
  EXPECT(report.attachments_pulled >= 300);
  EXPECT(c.marks(2) == c.marks(0));
  EXPECT(c.marks(2) == c.marks(1));
  for (int i = 0; i < 300; ++i) EXPECT(c.has_attachment(2, "+row" + std::to_string(i), "b"));
  // The one it learnt from may go now.
  c.crash(0);
  EXPECT(c.read(2, "k2") == "new2");
  EXPECT(c.read(2, "k1") == std::nullopt);
  EXPECT(c.read(1, "k3") == "old3");
  EXPECT(c.read(2, "n299") == "+row299");
  report = c.catch_up(2);
  EXPECT(report.rows_pulled == 0);
  EXPECT_FALSE(report.complete());
  EXPECT(report.caught_up());
}

TEST_CASE("a row that nobody knows to be committed is written again by the holder, not spread") {
  SyncCluster c;
  c.put(0, "a", "first");
  c.loop.run_for(std::chrono::seconds(1));
  // A row that reached its holder only.
  c.net.cut(c.nodes[0]->id, c.nodes[1]->id);
  c.net.cut(c.nodes[0]->id, c.nodes[2]->id);
  EXPECT_FALSE(c.mutate(0, "b", "Palone").has_value());
  c.net.heal();
  c.loop.run_for(std::chrono::seconds(1));
  auto alone = c.marks(0)[place_of(SyncCluster::key("b"))];
  REQUIRE_FALSE(alone.committed);
  EXPECT(c.marks(1).size() == 1);
  RowSyncReport report = c.catch_up(2);
  EXPECT(report.complete());
  EXPECT(report.settled >= 1);
  auto marks = c.marks(2);
  RowMark row = marks[place_of(SyncCluster::key("b"))];
  EXPECT(row.committed);
  EXPECT(row.rank != alone.rank);  // a rank of the holder's, not the one that was found
  EXPECT(c.read(0, "b") == "alone");
}

TEST_CASE("a committed row at or below the floor is refused, and comes under a new rank") {
  SyncCluster c;
  c.put(0, "a", "kept");
  c.put(0, "gone", "x");
  c.remove(0, "gone");
  c.loop.run_for(std::chrono::seconds(1));
  auto before = c.marks(2);
  Rank tombstone = before[place_of(SyncCluster::key("gone"))].rank;
  Rank kept = before[place_of(SyncCluster::key("a"))].rank;
  // Node 2 lost "a" to nobody knows what, and has a floor above it.
  WriteBatch batch;
  batch.erase(register_store_key(SyncCluster::key("a")));
  REQUIRE(c.loop.run(c.nodes[2]->now->kv->write(std::move(batch))).has_value());
  auto dropped =
      c.loop.run(c.nodes[2]->now->service->collect(0, 1, {{SyncCluster::key("gone"), tombstone}}));
  REQUIRE(dropped.has_value());
  EXPECT(*dropped == 1);
  EXPECT(c.marks(2).empty());
  RowSyncReport report = c.catch_up(2);
  EXPECT(report.caught_up());
  auto after = c.marks(2);
  EXPECT(after.size() == 1);  // the collected tombstone does not come back
  EXPECT(after[place_of(SyncCluster::key("a"))].rank > kept);
  EXPECT(c.read(2, "a") == "kept");
  EXPECT(c.read(2, "gone") == std::nullopt);
}

TEST_CASE("interrupted and repeated syncs do no harm") {
  SyncCluster c;
  c.crash(2);
  for (int i = 0; i < 3000; ++i) {
    std::string row(100, 'x');
    c.put(0, "k" + std::to_string(i), row + std::to_string(i));
  }
  c.loop.run_for(std::chrono::seconds(1));
  c.start(2);
  // Cut short again and again, in between with a crash.
  bool partial = false;
  for (int ms = 2; ms < 40; ms += 6) {
    auto report =
        c.loop.run(c.nodes[2]->now->sync->catch_up(0, c.loop.after(std::chrono::milliseconds(ms))));
    REQUIRE(report.has_value());
    size_t rows = c.marks(2).size();
    partial = partial || (rows > 0 && rows < 3000);
    if (!report->caught_up()) EXPECT(rows < 3000);
    if (ms == 20) {
      c.crash(2);
      c.start(2);
    }
  }
  EXPECT(partial);
  EXPECT(c.catch_up(2).complete());
  EXPECT(c.marks(2) == c.marks(0));
  RowSyncReport again = c.catch_up(2);
  EXPECT(again.complete());
  EXPECT(again.rows_pulled == 0);
}

TEST_CASE("attachments that reached other replicas only are brought over") {
  SyncCluster c;
  c.net.cut_both(c.nodes[0]->id, c.nodes[2]->id);
  std::vector<Attachment> chunks{{test_version("m1"), "m0", "zero"},
                                 {test_version("m1"), "m1", "one"}};
  REQUIRE(c.loop.run(c.nodes[0]->now->service->put_attachments(0, chunks, Fence{}, c.soon()))
              .has_value());
  c.net.heal();
  c.put(0, "a", "m1");
  c.loop.run_for(std::chrono::seconds(1));
  EXPECT_FALSE(c.has_attachment(2, "m1", "m0"));
  RowSyncReport report = c.catch_up(2);
  EXPECT(report.complete());
  EXPECT(report.rows_pulled == 0);
  EXPECT(report.attachments_pulled == 2);
  EXPECT(c.has_attachment(2, "m1", "m0"));
  EXPECT(c.has_attachment(2, "m1", "m1"));
}

TEST_CASE("dead rows are neither compared nor brought over") {
  SyncCluster c;
  c.crash(2);
  c.put(0, "a", "x");
  c.put(0, "b", "?");
  c.loop.run_for(std::chrono::seconds(1));
  c.start(2);
  EXPECT(c.catch_up(2).complete());
  EXPECT(c.marks(2).size() == 1);
  auto stored = c.nodes[2]->now->kv->get(register_store_key(SyncCluster::key("b")));
  EXPECT_FALSE(stored->has_value());
}

TEST_CASE("rows of another layout epoch are neither given nor taken") {
  SyncCluster c;
  c.crash(2);
  c.put(0, "a", "x");
  c.loop.run_for(std::chrono::seconds(1));
  c.start(2);
  LayoutState joint = *c.state;
  joint.epoch = 2;
  joint.next = c.layout(2, {0, 1, 2});
  c.adopt(2, joint);
  auto report = c.loop.run(c.nodes[2]->now->sync->catch_up(0, c.soon(5)));
  REQUIRE(report.has_value());
  EXPECT(report->peers_done == 0);
  EXPECT_FALSE(report->caught_up());
  EXPECT(c.marks(2).empty());
  c.adopt(0, joint), c.adopt(1, joint);
  EXPECT(c.catch_up(2).complete());
  EXPECT(c.marks(2).size() == 1);
}
