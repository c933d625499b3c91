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

TEST_CASE("more rows than one batch holds are taken in parts") {
  SyncCluster c;
  c.crash(2);
  for (int i = 0; i < 120; ++i) c.put(0, "k" + std::to_string(i), std::string(4000, 'x'));
  c.loop.run_for(std::chrono::seconds(1));
  c.start(2);
  RowSyncReport report = c.catch_up(2);
  EXPECT(report.complete());
  EXPECT(report.rows_pulled == 120);
  EXPECT(c.marks(2) == c.marks(0));
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

namespace {

// A row under the holder's ballot that reached node `at` alone: its holder died before it had
// stored it. `deaf`: the node has also promised a ballot that nobody else ever heard of.
void leave_in_doubt(SyncCluster& c, size_t at, const std::string& name, bool deaf) {
  auto& one = *c.nodes[at]->now;
  KvVersion after = 0;
  auto state = one.service->acceptor().partition(0, after);
  REQUIRE(state.has_value());
  Entry entry;
  entry.rank = Rank{state->promised, 1'000'000};
  entry.row = "in doubt";
  entry.operations.push_back(c.rng.id<OperationId>());
  Acceptor::Outcome taken =
      one.service->acceptor().accept(SyncCluster::key(name), entry, {}, Fence{}, 1);
  REQUIRE(taken.reply.answer == Answer::kYes);
  REQUIRE(c.loop.run(one.kv->write(std::move(taken.batch))).has_value());
  if (!deaf) return;
  Ballot above = state->promised;
  above.counter += 100;
  above.node = 77;
  Acceptor::Outcome promised = one.service->acceptor().prepare(0, above);
  REQUIRE(c.loop.run(one.kv->write(std::move(promised.batch))).has_value());
}

}  // namespace

TEST_CASE("a row in doubt is settled although its holder has a quorum without it") {
  // Of a new key, of one with a row everywhere, and of one that was deleted and collected.
  for (std::string name : {"new", "old", "gone"}) {
    CAPTURE(name);
    SyncCluster c;
    c.put(0, "old", "chosen");
    c.put(0, "gone", "chosen"), c.remove(0, "gone");
    c.loop.run_for(std::chrono::seconds(1));
    for (int i = 0; i < 3; ++i)
      for (size_t n = 0; n < 3; ++n)
        REQUIRE(c.loop.run(c.nodes[n]->now->sync->collect_tombstones(0, c.soon())).has_value());
    leave_in_doubt(c, 2, name, true);
    // The one with the row always answers last.
    const NodeId slow = c.nodes[2]->id;
    c.net.script = [slow](const NodeId& from, const NodeId&, bool reply,
                          const std::string&) -> std::optional<std::vector<Duration>> {
      if (from != slow || !reply) return std::nullopt;
      return std::vector<Duration>{std::chrono::milliseconds(30)};
    };
    RowSyncReport report = c.catch_up(2);
    EXPECT(report.caught_up());
    EXPECT(report.left == 0);
    c.loop.run_for(std::chrono::seconds(1));
    report = c.catch_up(2);
    EXPECT(report.caught_up());
    EXPECT(c.marks(2) == c.marks(0));
    EXPECT(c.marks(2) == c.marks(1));
    // The quorum that was heard has decided: the row in doubt was never written.
    std::optional<std::string> now = c.read(2, name);
    EXPECT(now == (name == "old" ? std::optional<std::string>("chosen") : std::nullopt));
  }
}

TEST_CASE("a holder takes a partition over again when a replica has promised a higher ballot") {
  SyncCluster c;
  c.put(0, "a", "1");
  leave_in_doubt(c, 2, "x", true);
  c.put(0, "a", "2");
  c.loop.run_for(std::chrono::seconds(1));
  c.put(0, "a", "3");
  c.loop.run_for(std::chrono::seconds(1));
  std::string place = place_of(SyncCluster::key("a"));
  EXPECT(c.marks(2)[place] == c.marks(0)[place]);
}
