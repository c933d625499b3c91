#include "gossip/swim/swim.h"

#include "tests/unit/test.h"

#include "tests/sim/gossip/gossip_net.h"

using namespace covey;
using namespace std::chrono_literals;

TEST_CASE("five nodes that know one seed find each other, with their metadata") {
  GossipNet net(1);
  for (int n = 0; n < 5; ++n) net.start(n);
  net.run(10s);
  EXPECT(net.converged(5));
  for (const MemberView& view : net.at(3).members()) {
    EXPECT_FALSE(view.meta.name.empty());
    if (view.id != GossipNet::id(3)) EXPECT(view.meta.gossip.host.starts_with("10.0.0."));
  }
}

TEST_CASE("a dead node is noticed within a minute and stays visible as dead") {
  GossipNet net(2);
  for (int n = 0; n < 5; ++n) net.start(n);
  net.run(30s);
  net.stop(3);
  net.run(70s);
  for (int n : {0, 1, 2, 4}) EXPECT(net.state(n, 3) == MemberState::kDead);
  net.run(3600s);
  EXPECT(net.state(0, 3) == MemberState::kDead);
}

TEST_CASE("a dead node that starts again is alive again, also under a lower incarnation") {
  GossipNet net(3);
  for (int n = 0; n < 3; ++n) net.start(n, 50);
  net.run(20s);
  net.stop(2);
  net.run(90s);
  REQUIRE(net.state(0, 2) == MemberState::kDead);
  net.start(2, 1);
  net.run(30s);
  EXPECT(net.converged(3));
}

TEST_CASE("false rumours are refuted") {
  GossipNet net(4);
  for (int n = 0; n < 3; ++n) net.start(n);
  net.run(20s);
  GossipMessage rumour;
  MemberUpdate claim;
  claim.id = GossipNet::id(2);
  claim.incarnation = 1;
  claim.state = MemberState::kDead;
  claim.meta.name = "n2";
  claim.meta.gossip = GossipNet::address(2);
  for (const MemberView& view : net.at(0).members())
    if (view.id == claim.id) claim.incarnation = view.incarnation;
  net.at(0).receive(net.now(), GossipNet::id(1), GossipNet::address(1),
                    encode_gossip(rumour, {encode_update(claim)}));
  REQUIRE(net.state(0, 2) == MemberState::kDead);
  net.run(30s);
  EXPECT(net.converged(3));
}

TEST_CASE("no false deaths under 30 percent loss") {
  for (uint64_t seed : {5, 6}) {
    GossipNet net(seed);
    for (int n = 0; n < 5; ++n) net.start(n);
    net.run(60s);
    REQUIRE(net.converged(5));
    net.loss = 0.3;
    net.run(3 * 3600s);
    EXPECT(net.deaths == 0);
  }
}

TEST_CASE("after a partition both sides find each other by themselves") {
  GossipNet net(7);
  for (int n = 0; n < 5; ++n) net.start(n);
  net.run(30s);
  net.cut = [](int a, int b) { return (a < 2) != (b < 2); };
  net.run(300s);
  EXPECT(net.state(0, 4) == MemberState::kDead);
  EXPECT(net.state(4, 0) == MemberState::kDead);
  EXPECT(net.state(4, 3) == MemberState::kAlive);
  net.cut = [](int, int) { return false; };
  net.run(90s);
  EXPECT(net.converged(5));
}

TEST_CASE("a link that fails between two nodes only kills nobody: others ask for them") {
  GossipNet net(8);
  for (int n = 0; n < 5; ++n) net.start(n);
  net.run(30s);
  net.cut = [](int a, int b) { return a + b == 7 && (a == 3 || a == 4); };
  net.run(1800s);
  EXPECT(net.deaths == 0);
}

TEST_CASE("leaving on purpose is not death") {
  GossipNet net(9);
  for (int n = 0; n < 4; ++n) net.start(n);
  net.run(20s);
  net.leave(3);
  net.run(2s);
  net.stop(3);
  net.run(100s);
  EXPECT(net.state(0, 3) == MemberState::kLeft);
  EXPECT(net.deaths == 0);
}

TEST_CASE(
    "one that starts at the address of a silent node, under its name, shows that it is gone") {
  for (double loss : {0.0, 0.1}) {
    GossipNet net(20);
    for (int n = 0; n < 3; ++n) net.start(n);
    net.run(20s);
    net.loss = loss;
    net.stop(2);
    net.start_as(12, 2, 2);
    net.run(6500ms);
    for (int n : {0, 1}) {
      EXPECT(net.state(n, 2) == MemberState::kDead);
      EXPECT(net.state(n, 12) == MemberState::kAlive);
    }
    // The new one is not mistaken for the old one later.
    net.run(60s);
    for (int n : {0, 1}) EXPECT(net.state(n, 12) == MemberState::kAlive);
  }
}

TEST_CASE("a node of the same name at another address proves nothing") {
  GossipNet net(21);
  for (int n = 0; n < 3; ++n) net.start(n);
  net.run(20s);
  net.stop(2);
  net.start_as(12, 2, 5);
  net.run(9s);
  EXPECT(net.state(0, 2) != MemberState::kDead);
  EXPECT(net.state(0, 12) == MemberState::kAlive);
}

TEST_CASE("who claims the address of a live node of its name does not have it declared dead") {
  GossipNet net(22);
  for (int n = 0; n < 3; ++n) net.start(n);
  net.run(20s);
  MemberMeta meta;
  for (const MemberView& view : net.at(1).members())
    if (view.id == GossipNet::id(2)) meta = view.meta;  // with its address
  REQUIRE(meta.gossip == GossipNet::address(2));
  net.start_as(12, 2, 5);
  net.at(12).update_meta(meta);
  net.run(300s);
  EXPECT(net.state(0, 2) == MemberState::kAlive);
  EXPECT(net.state(1, 2) == MemberState::kAlive);
}

TEST_CASE("a node that is heard from has its whole time, whoever else is at its address") {
  // What is sent to the address reaches node 12 alone, as behind a router that was told so. Node 2
  // still runs and sends from there.
  GossipNet net(23);
  for (int n = 0; n < 3; ++n) net.start(n);
  net.run(20s);
  net.start_as(12, 2, 2);
  net.run(9s);
  EXPECT(net.deaths == 0);
}

TEST_CASE("new metadata reaches everybody; forgotten members are gone") {
  GossipNet net(10);
  for (int n = 0; n < 4; ++n) net.start(n);
  net.run(20s);
  MemberMeta meta = net.at(1).members()[1].meta;
  meta.layout_epoch = 7;
  net.at(1).update_meta(meta);
  net.run(10s);
  for (const MemberView& view : net.at(3).members())
    if (view.id == GossipNet::id(1)) EXPECT(view.meta.layout_epoch == 7);
  net.at(3).forget(GossipNet::id(1));
  EXPECT(net.at(3).members().size() == 4);  // alive members cannot be forgotten
}

TEST_CASE("twenty nodes: state larger than a datagram still spreads") {
  GossipNet net(11);
  for (int n = 0; n < 20; ++n) net.start(n);
  net.run(60s);
  EXPECT(net.converged(20));
}
