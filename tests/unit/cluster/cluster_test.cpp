#include "node/cluster/cluster.h"

#include "tests/unit/test.h"

#include "base/core/log.h"
#include "tests/unit/cluster/fake_world.h"

using namespace covey;
using namespace std::chrono_literals;

TEST_CASE("a node without seeds founds a cluster once; one with seeds never does") {
  World world(1);
  Cluster& first = world.start(0, false);
  REQUIRE(first.layout());
  EXPECT(first.layout()->epoch == 1);
  EXPECT(first.layout()->current.replicas(7) == std::vector<NodeId>{World::id(0)});
  ClusterId cluster = first.layout()->cluster;
  world.stop(0);
  world.start(0, false);
  EXPECT(world.at(0).layout()->cluster == cluster);
  world.stop(0);
  world.start(1, true);
  world.loop.run_for(600s);
  EXPECT_FALSE(world.at(1).layout());
  EXPECT_FALSE(world.at(1).waits().empty());
}

TEST_CASE("three nodes that start together are one cluster of three after one change") {
  World world(2);
  world.start(0, false);
  world.start(1, true);
  world.start(2, true);
  REQUIRE(world.run_until_settled(3));
  EXPECT(world.at(0).layout()->epoch == 3);  // 1, joint, 3
  EXPECT(world.at(2).layout()->current.copies == 3);
  EXPECT(world.at(2).candidates().empty());
  EXPECT(world.at(1).members().size() == 3);
}

TEST_CASE("growth in steps and under message loss, from several seeds") {
  for (uint64_t seed = 10; seed < 20; ++seed) {
    CAPTURE(seed);
    World world(seed);
    world.loss = 0.1;
    world.start(0, false);
    for (int n = 1; n < 5; ++n) {
      world.start(n, true);
      world.loop.run_for(Duration(world.rng.below(4'000'000'000)));
    }
    EXPECT(world.run_until_settled(5));
  }
}

TEST_CASE("two clusters never merge") {
  World world(6);
  world.start(0, false, "a0", "a");
  world.start(1, false, "b0", "b");
  ClusterId a = world.at(0).layout()->cluster, b = world.at(1).layout()->cluster;
  set_log_level("off");
  world.merge_groups();
  world.start(2, true);
  world.loop.run_for(120s);
  set_log_level("info");
  EXPECT(world.at(0).layout()->cluster == a);
  EXPECT(world.at(1).layout()->cluster == b);
  EXPECT(world.at(0).layout()->current.members.size() == 1);
  EXPECT_FALSE(world.at(2).layout());
}

TEST_CASE("a crash at any message of a change leaves one chain of layouts, and it goes on") {
  for (uint64_t crash_at = 1; crash_at <= 30; ++crash_at) {
    CAPTURE(crash_at);
    World world(100 + crash_at);
    world.start(0, false);
    world.start(1, true);
    world.start(2, true);
    bool crashed = false;
    world.on_message = [&](uint64_t message) {
      if (message == crash_at) crashed = true, world.cut_off.insert(0);
    };
    world.loop.run_until([&] { return crashed || world.settled(3); }, 60s);
    if (crashed) {
      world.stop(0);
      world.loop.run_for(5s);
      world.start(0, false);
    }
    EXPECT(world.run_until_settled(3));
  }
}

TEST_CASE("a member leaves an empty cluster by command, dead or alive, and comes back by command") {
  World world(7);
  world.start(0, false);
  for (int n = 1; n < 4; ++n) world.start(n, true);
  REQUIRE(world.run_until_settled(4));
  EXPECT(world.loop.run(world.at(1).apply({{"nobody"}, {}})).is(ErrorCode::kNotFound));
  world.stop(3);
  REQUIRE(world.loop.run(world.at(1).apply({{"n3"}, {}})));
  REQUIRE(world.run_until_settled(3));
  world.start(3, true);
  world.loop.run_for(60s);
  EXPECT(world.settled(3));
  REQUIRE(world.at(0).candidates().size() == 1);
  EXPECT(world.at(0).candidates()[0].waits.find("covey node add n3") != std::string::npos);
  REQUIRE(world.loop.run(world.at(2).apply({{}, {"n3"}})));
  EXPECT(world.run_until_settled(4));
  EXPECT_FALSE(world.at(0).layout()->has_departed(World::id(3)));
}

TEST_CASE("one change takes the last member out and another node in; none takes all of them out") {
  World world(9);
  world.start(0, false);
  world.start(1, true);
  REQUIRE(world.run_until_settled(2));
  REQUIRE(world.loop.run(world.at(0).apply({{"n1"}, {}})));
  REQUIRE(world.run_until_settled(1));
  EXPECT(world.loop.run(world.at(0).apply({{"n0"}, {}})).is(ErrorCode::kInvalid));
  REQUIRE(world.loop.run_until([&] { return world.at(0).candidates().size() == 1; }, 60s));
  REQUIRE(world.loop.run(world.at(0).apply({{"n0"}, {"n1"}})));
  EXPECT(world.run_until_settled(1));
  EXPECT(world.at(0).layout()->current.members[0].id == World::id(1));
}

TEST_CASE("a node whose name is taken waits and says why") {
  World world(8);
  world.start(0, false, "box");
  world.start(1, true, "box");
  world.loop.run_for(30s);
  EXPECT(world.at(0).layout()->current.members.size() == 1);
  REQUIRE(world.at(0).candidates().size() == 1);
  EXPECT(world.at(0).candidates()[0].waits.find("name") != std::string::npos);
}

TEST_CASE("a silent node is replaced by the next of its name, but not while it answers calls") {
  World world(24);
  world.start(0, false);
  for (int n : {1, 2}) world.start(n, true);
  REQUIRE(world.run_until_settled(3));
  world.loop.run_for(kUnknownIsSilent);
  world.hide(2);
  world.start(5, true, "n2");
  world.loop.run_for(60s);
  EXPECT(world.at(0).layout()->current.find(World::id(2)) != nullptr);
  REQUIRE(world.at(0).candidates().size() == 1);
  EXPECT(world.at(0).candidates()[0].waits.find("answers on rpc") != std::string::npos);
  world.stop(2);
  REQUIRE(world.run_until_settled(3));
  EXPECT(world.at(0).layout()->current.find(World::id(2)) == nullptr);
  EXPECT(world.at(0).layout()->current.find(World::id(5)) != nullptr);
}
