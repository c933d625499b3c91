// When partitions are compared, and what a node says of itself meanwhile.
#include "store/sync/resync.h"

#include "tests/unit/sync/sync_cluster.h"

using namespace covey;

namespace {

// Resync on one node of a cluster.
struct Watched : SyncCluster {
  void watch(size_t i) {
    auto& one = *nodes[i]->now;
    control = std::make_unique<ControlStore>(one.runtime, *one.kv, *one.peers, *nodes[i]->topology);
    CHECK(control->load().has_value());
    resync = std::make_unique<Resync>(one.runtime, *one.kv, *one.sync, *one.service, *control,
                                      *nodes[i]->topology);
    resync->also_catch_up = [this](PartitionId partition, TimePoint) -> Task<Status> {
      return note(partition);
    };
    resync->also_purge = [this](PartitionId partition, TimePoint) { return let_go(partition); };
    resync->also_holds = [this](PartitionId partition) { return blocks_left.contains(partition); };
    scope.spawn(resync->run(scope));
  }
  Task<Status> let_go(PartitionId partition) {
    blocks_left.erase(partition);
    co_return Status();
  }
  Task<Status> note(PartitionId) {
    if (blocks_take > Duration::zero()) co_await nodes[2]->now->runtime.clock.sleep(blocks_take);
    ++blocks_compared;
    co_return Status();
  }
  ~Watched() {
    scope.request_stop();
    loop.run(scope.join());
    resync.reset(), control.reset();
  }
  std::unique_ptr<ControlStore> control;
  std::unique_ptr<Resync> resync;
  Scope scope;
  int blocks_compared = 0;
  Duration blocks_take{};
  std::set<PartitionId> blocks_left;
};

}  // namespace

TEST_CASE("a node that returns is behind until it has compared every partition") {
  Watched c;
  c.crash(2);
  for (int i = 0; i < 50; ++i) c.put(0, "k" + std::to_string(i), "v");
  c.loop.run_for(std::chrono::seconds(1));
  c.start(2);
  c.watch(2);
  EXPECT(c.resync->progress().partitions == kTestPartitions);
  EXPECT(c.resync->progress().behind == kTestPartitions);
  c.loop.run_for(std::chrono::seconds(10));
  EXPECT(c.resync->progress().behind == 0);
  EXPECT(c.resync->progress().rows_left == 0);
  EXPECT(c.marks(2) == c.marks(0));
  EXPECT(c.blocks_compared == static_cast<int>(kTestPartitions));
}

TEST_CASE("without a quorum a node stays behind; when a peer comes back it compares at once") {
  Watched c;
  c.crash(2);
  c.put(0, "a", "v");
  c.loop.run_for(std::chrono::seconds(1));
  c.crash(0), c.crash(1);
  c.start(2);
  for (size_t i : {0, 1}) c.nodes[2]->topology->dead.insert(c.nodes[i]->id);
  c.watch(2);
  c.loop.run_for(std::chrono::seconds(20));
  EXPECT(c.resync->progress().behind == kTestPartitions);
  c.start(0);
  c.loop.run_for(std::chrono::seconds(8));
  EXPECT(c.resync->progress().behind == 0);
  EXPECT(c.read(2, "a") == "v");
  EXPECT(c.marks(2).size() == 1);
  // Another one returns: what it may know is not known here.
  c.start(1);
  c.loop.run_for(std::chrono::milliseconds(1001));
  c.loop.run_for(std::chrono::seconds(8));
  EXPECT(c.resync->progress().behind == 0);
}

TEST_CASE("a peer that comes back while a partition is worked on has it compared once more") {
  Watched c;
  c.crash(1);
  c.blocks_take = std::chrono::seconds(6);
  c.watch(2);
  c.loop.run_for(std::chrono::seconds(3));  // rows are compared, blocks are on their way
  REQUIRE(c.resync->progress().behind == 0);
  REQUIRE(c.blocks_compared == 0);
  c.start(1);
  c.loop.run_for(std::chrono::seconds(2));
  EXPECT(c.resync->progress().behind == kTestPartitions);
  c.loop.run_for(std::chrono::seconds(15));
  EXPECT(c.resync->progress().behind == 0);
  EXPECT(c.blocks_compared > static_cast<int>(kTestPartitions));
}

TEST_CASE("rows that others spoke of are brought over without comparing everything") {
  Watched c;
  c.watch(2);
  c.loop.run_for(std::chrono::seconds(5));
  REQUIRE(c.resync->progress().behind == 0);
  uint64_t comparisons = c.nodes[2]->now->sync->totals().catch_ups;
  // Accepts do not get through, what is told of them afterwards does.
  c.net.cut(c.nodes[0]->id, c.nodes[2]->id);
  c.put(0, "a", "+missed");
  c.net.heal();
  c.loop.run_for(std::chrono::seconds(1));
  auto marks = c.marks(2);
  EXPECT(marks.empty());
  c.loop.run_for(std::chrono::seconds(10));
  EXPECT(c.marks(2) == c.marks(0));
  EXPECT(c.has_attachment(2, "+missed", "b"));
  EXPECT(c.nodes[2]->now->sync->totals().catch_ups == comparisons);
}

TEST_CASE("what a node left is not let go of while reads may still come under the layout before") {
  Watched c;
  c.put(0, "a", "+v");
  c.loop.run_for(std::chrono::seconds(1));
  c.watch(2);
  c.loop.run_for(std::chrono::seconds(5));
  LayoutState fresh = *c.state;
  fresh.epoch = 3;
  fresh.current = c.layout(2, {0, 1});
  for (size_t i = 0; i < 3; ++i) c.adopt(i, fresh);
  c.loop.run_for(std::chrono::seconds(30));
  EXPECT(c.marks(2) == c.marks(0));
  EXPECT(c.resync->progress().to_purge > 0);
  c.loop.run_for(std::chrono::seconds(60));
  EXPECT(c.marks(2).empty());
  EXPECT_FALSE(c.has_attachment(2, "+v", "b"));
  EXPECT(c.resync->progress().to_purge == 0);
}

TEST_CASE("blocks that a crash brought back after their rows were let go of are let go of, too") {
  Watched c;
  LayoutState fresh = *c.state;
  fresh.epoch = 3;
  fresh.current = c.layout(2, {0, 1});
  for (size_t i = 0; i < 3; ++i) c.adopt(i, fresh);
  c.blocks_left = {0, kTestPartitions - 1};
  c.watch(2);
  c.loop.run_for(std::chrono::seconds(30));
  EXPECT(c.resync->progress().to_purge == 2);
  EXPECT(c.blocks_left.size() == 2);
  c.loop.run_for(std::chrono::seconds(60));
  EXPECT(c.resync->progress().to_purge == 0);
  EXPECT(c.blocks_left.empty());
}
