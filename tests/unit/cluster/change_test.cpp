// Changes of the layout with data in it: nothing acknowledged is lost, whoever dies on the way.
#include "node/cluster/change.h"

#include "tests/unit/test.h"

#include "base/core/log.h"
#include "tests/unit/cluster/fake_world.h"

using namespace covey;
using namespace std::chrono_literals;

namespace {

constexpr TableId kTables[] = {TableId::kBuckets, TableId::kBlockIndex};

// Writes through random nodes and remembers what was acknowledged.
class Writer {
 public:
  explicit Writer(World& world) : world_(world) {}

  void write(int count) {
    for (int i = 0; i < count; ++i) {
      auto nodes = world_.running();
      int n = nodes[world_.rng.below(nodes.size())];
      if (!world_.up(n) || !world_.at(n).layout()) continue;
      PartitionId p = static_cast<PartitionId>(world_.rng.below(16)) * 16;
      TableId table = kTables[world_.rng.below(2)];
      std::string name = "row" + std::to_string(++made_);
      if (world_.data(n).write(table, p, name)) acked_.push_back({table, p, name});
    }
  }
  size_t acked() const { return acked_.size(); }
  // How many acknowledged rows are on fewer replicas than a quorum (or, `all`, than all of them).
  size_t missing(bool all) {
    const LayoutState& state = *world_.at(world_.running().front()).layout();
    size_t bad = 0;
    for (const Row& row : acked_) {
      std::vector<NodeId> nodes = state.current.replicas(row.p), have;
      for (const NodeId& node : nodes)
        if (world_.kv(FakeData::number(node))
                .rows.contains(FakeData::key_of(row.table, row.p, row.name)))
          have.push_back(node);
      bad += all ? have.size() < nodes.size() : !is_majority(nodes, have);
    }
    return bad;
  }

 private:
  struct Row {
    TableId table;
    PartitionId p;
    std::string name;
  };
  World& world_;
  std::vector<Row> acked_;
  int made_ = 0;
};

// Rows of partitions that a node is no replica of.
size_t leftovers(World& world) {
  size_t rows = 0;
  const LayoutState& state = *world.at(world.running().front()).layout();
  for (int n : world.running())
    for (PartitionId p = 0; p < state.current.partitions(); ++p)
      for (TableId table : kTables) {
        if (state.tenure(p, World::id(n))) continue;
        auto& kv = world.kv(n).rows;
        auto at = kv.lower_bound(FakeData::key_of(table, p, ""));
        rows += at != kv.end() && at->first.starts_with(FakeData::key_of(table, p, ""));
      }
  return rows;
}

}  // namespace

TEST_CASE("a cluster with data grows 1, 2, 3, 5 and shrinks to 3 while it is written to") {
  World world(31);
  Writer writer(world);
  world.start(0, false);
  writer.write(200);
  for (int n = 1; n < 5; ++n) {
    world.start(n, true);
    bool settled = world.loop.run_until(
        [&] {
          writer.write(1);
          return world.settled(static_cast<size_t>(n) + 1);
        },
        300s);
    REQUIRE(settled);
    EXPECT(writer.missing(false) == 0);
  }
  REQUIRE(world.loop.run(world.at(2).apply({{"n4", "n0"}, {}})));
  REQUIRE(world.loop.run_until([&] { return writer.write(1), world.settled(3); }, 300s));
  EXPECT(writer.missing(false) == 0);
  world.loop.run_for(120s);
  EXPECT(leftovers(world) == 0);
  EXPECT(world.at(4).leaving() == 0);
  EXPECT(writer.acked() > 400);
}

TEST_CASE("a dead node is removed, and a wiped one takes its old place by itself") {
  World world(32);
  Writer writer(world);
  world.start(0, false);
  for (int n = 1; n < 4; ++n) world.start(n, true);
  REQUIRE(world.run_until_settled(4));
  writer.write(400);
  world.stop(3);
  writer.write(50);
  REQUIRE(world.loop.run(world.at(1).apply({{"n3"}, {}})));
  REQUIRE(world.run_until_settled(3));
  EXPECT(writer.missing(false) == 0);
  // Node 2 loses everything; node 9 comes with its name.
  world.stop(2);
  writer.write(50);
  world.start(9, true, "n2");
  REQUIRE(world.loop.run_until(
      [&] {
        return writer.write(1),
               world.at(0).layout()->current.find(World::id(9)) && world.settled(3);
      },
      300s));
  EXPECT(writer.missing(false) == 0);
  EXPECT(world.at(0).layout()->has_departed(World::id(2)));
  // The old one turns up again: it is told, purges and waits.
  set_log_level("off");
  world.start(2, true);
  world.loop.run_for(120s);
  set_log_level("info");
  EXPECT(world.settled(3));
  EXPECT(leftovers(world) == 0);
}

TEST_CASE("other zones and capacities change the layout") {
  World world(33);
  Writer writer(world);
  world.start(0, false);
  for (int n = 1; n < 5; ++n) world.start(n, true);
  REQUIRE(world.run_until_settled(5));
  writer.write(300);
  auto held = [&](int n) {
    size_t count = 0;
    for (PartitionId p = 0; p < 256; ++p)
      count += world.at(0).layout()->current.tenure(p, World::id(n)).has_value();
    return count;
  };
  size_t before = held(4);
  world.stop(4);
  world.zone_and_capacity[4] = {"z9", 4ull << 30};
  world.start(4, true);
  REQUIRE(world.loop.run_until(
      [&] {
        return world.at(0).layout()->current.find(World::id(4))->zone == "z9" && world.settled(5);
      },
      300s));
  EXPECT(held(4) > before + 30);
  EXPECT(writer.missing(false) == 0);
}

TEST_CASE("without auto_layout a plan shows what would move, and apply does it") {
  World world(34);
  Writer writer(world);
  world.auto_layout = false;
  world.start(0, false);
  world.start(1, true);
  writer.write(100);
  world.loop.run_for(60s);
  EXPECT(world.at(0).layout()->epoch == 1);
  auto plan = world.loop.run(world.at(0).plan({}));
  REQUIRE(plan);
  EXPECT(plan->moves == 256);
  EXPECT(plan->bytes == 256 * 1000);
  REQUIRE(plan->what.size() == 1);
  EXPECT(plan->problems.empty());
  REQUIRE(world.loop.run(world.at(0).apply({})));
  EXPECT(world.loop.run(world.at(0).apply({})).is(ErrorCode::kConflict));
  EXPECT(world.run_until_settled(2));
  EXPECT(writer.missing(true) == 0);
  EXPECT(world.loop.run(world.at(0).plan({})).is(ErrorCode::kInvalid));
}

TEST_CASE("a new node that dies while it joins never stops the cluster") {
  World world(35);
  Writer writer(world);
  world.start(0, false);
  writer.write(100);
  world.start(1, true);
  REQUIRE(world.loop.run_until([&] { return world.at(0).layout()->joint(); }, 60s));
  world.stop(1);
  REQUIRE(world.run_until_settled(1));
  size_t before = writer.acked();
  writer.write(50);
  EXPECT(writer.acked() > before + 20);
  world.start(1, true);
  REQUIRE(world.run_until_settled(2, 600s));
  EXPECT(writer.missing(true) == 0);
}

TEST_CASE("an operator takes a change back") {
  World world(36);
  Writer writer(world);
  world.start(0, false);
  for (int n = 1; n < 3; ++n) world.start(n, true);
  REQUIRE(world.run_until_settled(3));
  writer.write(100);
  REQUIRE(world.loop.run(world.at(1).apply({{"n2"}, {}})));
  REQUIRE(world.loop.run(world.at(1).revert()));
  EXPECT(world.run_until_settled(3));
  EXPECT_FALSE(world.at(0).layout()->has_departed(World::id(2)));
  EXPECT(writer.missing(false) == 0);
}

TEST_CASE("nodes that die and come back at any time of a change lose nothing") {
  set_log_level("off");
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    CAPTURE(seed);
    World world(1000 + seed);
    Writer writer(world);
    world.loss = 0.03;
    world.start(0, false);
    for (int n = 1; n < 5; ++n) world.start(n, true);
    REQUIRE(world.run_until_settled(5));
    writer.write(200);
    std::set<int> down;
    std::vector<std::string> members = {"n0", "n1", "n2", "n3", "n4"};
    for (int round = 0; round < 12; ++round) {
      auto nodes = world.running();
      int at = nodes[world.rng.below(nodes.size())];
      std::string name = "n" + std::to_string(world.rng.below(5));
      uint64_t what = world.rng.below(4);
      // At most one is down at a time: then each partition keeps a live quorum.
      if (what == 0 && down.empty()) {
        down.insert(at);
        world.stop(at);
      } else if (what == 1 && !down.empty()) {
        world.start(*down.begin(), *down.begin() != 0);
        down.clear();
      } else if (what == 2 && world.at(at).layout()->current.members.size() > 3) {
        (void)world.loop.run(world.at(at).apply({{name}, {}}));
      } else {
        (void)world.loop.run(world.at(at).apply({{}, {name}}));
      }
      for (uint64_t i = world.rng.below(60); i > 0; --i) {
        writer.write(1);
        world.loop.run_for(Duration(world.rng.below(400'000'000)));
      }
    }
    for (int n : down) world.start(n, n != 0);
    world.loss = 0;
    bool settled = world.loop.run_until(
        [&] {
          auto state = world.at(0).layout();
          return !state->joint() && world.settled(state->current.members.size());
        },
        3000s);
    REQUIRE(settled);
    EXPECT(writer.missing(false) == 0);
    world.loop.run_for(200s);
    EXPECT(leftovers(world) == 0);
    EXPECT(writer.missing(false) == 0);
    EXPECT(writer.acked() > 200);
  }
  set_log_level("info");
}

TEST_CASE("a change is complete only when each partition is settled and on a quorum of the new") {
  World world(37);
  world.start(0, false);
  for (int n = 1; n < 3; ++n) world.start(n, true);
  REQUIRE(world.run_until_settled(3));
  ChangeInput in;
  in.state = *world.at(0).layout();
  in.state.epoch = 9;
  std::vector<Member> members = in.state.current.members;
  members.push_back({World::id(7), "n7", "z7", 1 << 30});
  in.state.next = *assign_layout(&in.state.current, members, 256, 9);
  EXPECT_FALSE(judge_change(in).safe);
  NodeReport done{9, true, std::vector<uint8_t>(256, kRowsHere | kBlocksHere), ""};
  for (const Member& member : members) in.reports[member.id] = done;
  EXPECT_FALSE(judge_change(in).safe);  // nobody has settled anything
  in.reports[World::id(7)].partitions.assign(256, kRowsHere | kBlocksHere | kSettled);
  ChangeVerdict verdict = judge_change(in);
  EXPECT(verdict.whole);
  EXPECT(verdict.view.moves() == verdict.view.moves_done());
  // One partition of a node that is up lacks its blocks: safe, but not whole.
  PartitionId changed = moves_of(in.state.current, *in.state.next)[0].partition;
  in.reports[World::id(7)].partitions[changed] = kRowsHere | kSettled;
  EXPECT(judge_change(in).safe);
  EXPECT_FALSE(judge_change(in).whole);
  in.away.insert(World::id(7));
  EXPECT(judge_change(in).whole);
  // Two of three lack them: not safe, whoever is away.
  for (const NodeId& node : in.state.next->replicas(changed))
    in.reports[node].partitions[changed] = kRowsHere | kSettled;
  EXPECT_FALSE(judge_change(in).safe);
  for (auto& [id, report] : in.reports) report.control = false;
  in.empty = true;
  EXPECT_FALSE(judge_change(in).safe);
}

TEST_CASE("reports and views survive their byte form; damaged ones are refused") {
  NodeReport report{7, true, {1, 2, 3}, "why"};
  auto back = decode_node_report(encode(report));
  REQUIRE(back);
  EXPECT(back->partitions == report.partitions);
  EXPECT(back->error == "why");
  ChangeView view;
  view.epoch = 3;
  view.nodes.push_back({World::id(1), true, 5, 4, 3, 2, "slow"});
  view.left_ms = 77;
  view.waits = "x";
  std::string bytes = encode(view);
  auto shown = decode_change_view(bytes);
  REQUIRE(shown);
  EXPECT(shown->nodes[0].moves_done == 4);
  EXPECT(shown->left_ms == 77);
  for (size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_FALSE(decode_change_view(bytes.substr(0, cut)));
}
