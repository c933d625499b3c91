// Three nodes on the simulated network: quorums, the third copy, repair, refusals.
#include "store/block/block_messages.h"
#include "tests/unit/block/block_cluster.h"

using namespace covey;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("blocks: stored through any node, read through any node, on all three soon") {
  BlockCluster c(1);
  for (uint32_t i = 0; i < 12; ++i) REQUIRE(c.put(i % 3, block(1, i)));
  c.loop.run_for(seconds(1));
  for (uint32_t i = 0; i < 12; ++i) {
    for (size_t at = 0; at < 3; ++at) {
      EXPECT(c.holds(at, block(1, i)));
      Result<Blob> got = c.get(at, block(1, i));
      REQUIRE(got);
      EXPECT(got->view() == BlockNode::payload(block(1, i), 20000));
    }
  }
  c.loop.run_for(seconds(60));
  for (BlockMember& m : c.nodes) EXPECT(m.service->usage().copies_owed == 0);
  EXPECT(c.get(0, block(9, 9)).is(ErrorCode::kNotFound));
}

namespace {

// Of what a script of the network is asked about.
bool asks(BlockMessageKind kind, bool reply, const std::string& head) {
  auto message = decode_block_message(head);
  return !reply && message && message->kind == kind;
}

Task<void> put_one(BlockCluster& c, BlockId id, size_t size, size_t& good, TimePoint& last,
                   Duration patience = seconds(10)) {
  BlockOwner owner = BlockNode::owner(id);
  Blob bytes = Blob::own(BlockNode::payload(id, size));
  Status put = co_await c.nodes[0].service->put(kHome, id, owner, bytes, c.loop.after(patience));
  good += put ? 1 : 0;
  last = c.loop.now();
}

}  // namespace

TEST_CASE(
    "blocks: more at once than a peer has memory for wait for their turn, except where it hangs") {
  constexpr size_t kSize = 400 * kKiB, kCount = 100;  // 39 MiB
  for (bool hangs : {false, true}) {
    BlockCluster c(8);
    for (BlockMember& m : c.nodes)
      m.memory.set_cap(64 * kMiB);  // 12 MiB for copies, 6 of each node
    if (hangs) c.net.cut_both(c.nodes[0].id, c.nodes[2].id);
    Scope scope;
    size_t good = 0, most = 0;
    TimePoint began = c.loop.now(), last;
    for (uint32_t i = 0; i < kCount; ++i) scope.spawn(put_one(c, block(1, i), kSize, good, last));
    while (scope.running() > 0 && c.loop.step()) {
      size_t held = c.nodes[1].memory.copies.used();
      most = std::max(most, held);
    }
    EXPECT(good == kCount);
    EXPECT(last - began < seconds(5));
    EXPECT(most > 0);
    EXPECT(most <= 6 * kMiB);
    // What waited for its turn at the one that hangs was given up, but for what may trail: 4 MiB.
    EXPECT(c.nodes[0].service->trailing_bytes() <= 10 * kMiB);
    c.net.heal();
    c.loop.run_for(seconds(120));
    EXPECT(c.nodes[0].service->trailing_bytes() == 0);
    for (uint32_t i = 0; i < kCount; ++i) EXPECT(c.holds(2, block(1, i)));
  }
}

TEST_CASE(
    "blocks: a replica that hangs costs its writers little memory, and is asked when needed") {
  constexpr size_t kSize = 400 * kKiB;
  BlockCluster c(7);
  c.net.cut_both(c.nodes[0].id, c.nodes[2].id);
  for (uint32_t i = 0; i < 100; ++i) {
    REQUIRE(c.put(0, block(1, i), kSize));
    EXPECT(c.nodes[0].service->trailing_bytes() < TrailingCopies::kNodeBytesMax + kSize);
  }
  EXPECT(c.nodes[0].service->trailing_bytes() >= TrailingCopies::kNodeBytesMax);
  // Back, and at once needed for a majority although it counts as behind.
  c.net.heal();
  c.net.cut_both(c.nodes[0].id, c.nodes[1].id);
  REQUIRE(c.put(0, block(2, 0), kSize));
  EXPECT(c.holds(2, block(2, 0)));
  c.net.heal();
  c.loop.run_for(seconds(120));
  EXPECT(c.nodes[0].service->trailing_bytes() == 0);
  for (uint32_t i = 0; i < 100; ++i) EXPECT(c.holds(2, block(1, i)));
  EXPECT(c.holds(1, block(2, 0)));
}

TEST_CASE("blocks: the third copy comes after the partition heals, whoever took the put is gone") {
  BlockCluster c(2);
  NodeId lost = c.nodes[2].id;
  c.net.cut_both(c.nodes[0].id, lost);
  c.net.cut_both(c.nodes[1].id, lost);
  for (uint32_t i = 0; i < 20; ++i) REQUIRE(c.put(0, block(1, i)));
  EXPECT(c.put(2, block(2, 0)).is(ErrorCode::kUnavailable));
  EXPECT(c.get(2, block(1, 0)).is(ErrorCode::kUnavailable));  // a minority never says 'not found'
  c.loop.run_for(seconds(60));
  EXPECT(c.nodes[0].service->usage().copies_owed >= 20);
  EXPECT(c.nodes[1].service->usage().copies_owed >= 20);
  c.nodes[0].stop();  // for good
  c.net.heal();
  c.loop.run_for(seconds(60));
  for (uint32_t i = 0; i < 20; ++i) {
    CAPTURE(i);
    EXPECT(c.holds(2, block(1, i)));
    Result<Blob> got = c.get(2, block(1, i));
    REQUIRE(got);
    EXPECT(got->view() == BlockNode::payload(block(1, i), 20000));
  }
}

TEST_CASE("blocks: debts survive the power loss of every holder") {
  BlockCluster c(3);
  NodeId lost = c.nodes[2].id;
  c.net.cut_both(c.nodes[0].id, lost);
  c.net.cut_both(c.nodes[1].id, lost);
  for (uint32_t i = 0; i < 20; ++i) REQUIRE(c.put(i % 2, block(1, i)));
  for (size_t at = 0; at < 2; ++at) {
    c.nodes[at].node.host.disk.crash_dropping_all();
    c.nodes[at].stop();
  }
  c.nodes[0].start();
  c.nodes[1].start();
  c.net.heal();
  c.loop.run_for(seconds(60));
  for (uint32_t i = 0; i < 20; ++i)
    for (size_t at = 0; at < 3; ++at) EXPECT(c.holds(at, block(1, i)));
}

TEST_CASE("blocks: a copy that rots is served from a peer, and repaired") {
  BlockCluster c(4);
  for (uint32_t i = 0; i < 20; ++i) REQUIRE(c.put(0, block(1, i)));
  c.loop.run_for(seconds(60));
  SimDisk& disk = c.nodes[0].node.host.disk;
  SimRng rng(5);
  for (const std::string& p : disk.paths())
    for (int n = 0; p.ends_with(".seg") && n < 30; ++n)
      disk.flip_bit(p, 64 + rng.below(400000), static_cast<uint8_t>(rng.below(8)));
  for (uint32_t i = 0; i < 20; ++i) {
    Result<Blob> got = c.get(0, block(1, i));
    REQUIRE(got);
    EXPECT(got->view() == BlockNode::payload(block(1, i), 20000));
  }
  EXPECT(c.nodes[0].node.store->quarantined() > 5);
  c.loop.run_for(seconds(60));
  for (uint32_t i = 0; i < 20; ++i) EXPECT(c.holds(0, block(1, i)));
}

TEST_CASE("blocks: a dropped version is refused, and not pushed back by a holder") {
  BlockCluster c(6);
  NodeId lost = c.nodes[2].id;
  c.net.cut_both(c.nodes[0].id, lost);
  c.net.cut_both(c.nodes[1].id, lost);
  REQUIRE(c.put(0, block(1, 0)));
  REQUIRE(c.loop.run(c.nodes[2].service->drop_local(kHome, block(1, 0).version)));
  c.net.heal();
  c.loop.run_for(seconds(60));
  EXPECT_FALSE(c.holds(2, block(1, 0)));
  REQUIRE(c.loop.run(c.nodes[0].service->drop_local(kHome, block(1, 0).version)));
  REQUIRE(c.loop.run(c.nodes[1].service->drop_local(kHome, block(1, 0).version)));
  EXPECT(c.put(0, block(1, 1)).is(ErrorCode::kStale));
}

TEST_CASE("blocks: a slow replica delays neither a put nor a read") {
  BlockCluster c(7);
  c.nodes[1].node.host.disk.faults.latency_min = seconds(2);
  c.nodes[1].node.host.disk.faults.latency_max = seconds(2);
  TimePoint start = c.loop.now();
  REQUIRE(c.put(0, block(1, 0), 200000));
  EXPECT(c.loop.now() - start < milliseconds(500));
  c.loop.run_for(seconds(30));
  REQUIRE(c.nodes[0].node.store->has({kHome, block(1, 0)}));
  start = c.loop.now();
  c.net.cut_both(c.nodes[0].id, c.nodes[1].id);
  REQUIRE(c.get(0, block(1, 0), 200000));
  EXPECT(c.loop.now() - start < milliseconds(500));
}

TEST_CASE("blocks: a reader does not get used to one slow replica") {
  BlockCluster c(14, 4);
  for (uint32_t i = 0; i < 40; ++i) REQUIRE(c.put(0, block(1, i), 200000));
  c.loop.run_for(seconds(1));
  c.nodes[0].node.host.disk.faults.latency_min = seconds(1);
  c.nodes[0].node.host.disk.faults.latency_max = seconds(2);
  Duration all{0};
  for (uint32_t i = 0; i < 40; ++i) {
    TimePoint start = c.loop.now();
    REQUIRE(c.get(3, block(1, i), 200000));
    all = all + (c.loop.now() - start);
    c.loop.run_for(seconds(3));  // the slow answer comes, too
  }
  EXPECT(all < seconds(5));
}

TEST_CASE("blocks: who is cut off while a slow replica is waited for says so within 5 s") {
  BlockCluster c(9);
  c.net.cut_both(c.nodes[0].id, c.nodes[2].id);
  bool slow = true;
  // No block arrives, and everything else does: a replica that answers, and writes slowly.
  c.net.script = [&slow](const NodeId&, const NodeId&, bool reply, const std::string& head) {
    std::optional<std::vector<Duration>> copies;
    if (slow && asks(BlockMessageKind::kPut, reply, head)) copies.emplace();
    return copies;
  };
  Scope scope;
  size_t good = 0;
  TimePoint last;
  scope.spawn(put_one(c, block(1, 0), 20000, good, last));
  c.loop.run_for(milliseconds(5500));  // past the first doubt
  REQUIRE(scope.running() == 1);
  TimePoint since = c.loop.now();
  c.net.cut_both(c.nodes[0].id, c.nodes[1].id);
  c.loop.run_for(seconds(30));
  REQUIRE(scope.running() == 0);
  EXPECT(good == 0);
  EXPECT(last - since < seconds(2));  // doubted at 3 s and at 6 s, with 1 s for an answer
  slow = false;
}

TEST_CASE("blocks: whether they still answer is asked of those that have the block, too") {
  BlockCluster c(10);
  // One has it at once, one never, and this node's disk takes its time.
  c.nodes[0].node.host.disk.faults.latency_min = seconds(20);
  c.nodes[0].node.host.disk.faults.latency_max = seconds(20);
  const NodeId never = c.nodes[2].id;
  c.net.script = [never](const NodeId&, const NodeId& to, bool reply, const std::string& head) {
    std::optional<std::vector<Duration>> copies;
    if (to == never && asks(BlockMessageKind::kPut, reply, head)) copies.emplace();
    return copies;
  };
  Scope scope;
  size_t good = 0;
  TimePoint last;
  scope.spawn(put_one(c, block(1, 0), 20000, good, last));
  c.loop.run_for(milliseconds(1000));
  REQUIRE(scope.running() == 1);
  TimePoint since = c.loop.now();
  c.net.cut_both(c.nodes[0].id, c.nodes[1].id);
  c.net.cut_both(c.nodes[0].id, c.nodes[2].id);
  c.loop.run_for(seconds(60));
  REQUIRE(scope.running() == 0);
  EXPECT(good == 0);
  EXPECT(last - since < seconds(4));
}

TEST_CASE("blocks: damage everywhere is an error, never 'not found'") {
  BlockCluster c(8);
  REQUIRE(c.put(0, block(1, 0)));
  c.loop.run_for(seconds(30));
  for (BlockMember& m : c.nodes)
    for (const std::string& p : m.node.host.disk.paths())
      if (p.ends_with(".seg")) m.node.host.disk.flip_bit(p, 5000, 3);
  EXPECT(c.get(0, block(1, 0)).is(ErrorCode::kUnavailable));
  EXPECT(c.get(0, block(1, 0)).is(ErrorCode::kUnavailable));  // every copy is set aside by now
  c.loop.run_for(seconds(60));
  for (size_t at : {0, 1, 2}) EXPECT(c.get(at, block(1, 0)).is(ErrorCode::kUnavailable));
}

namespace {

// A link that takes one block after the other, each `each` long, both ways; questions pass it.
struct SlowLink {
  SimLoop& loop;
  Duration each;
  TimePoint free = loop.now();
  size_t gets = 0;
  std::optional<std::vector<Duration>> operator()(bool reply, const std::string& head) {
    constexpr size_t kGetReplyHead = 4;  // the CRC
    gets += asks(BlockMessageKind::kGet, reply, head);
    bool block = reply ? head.size() == kGetReplyHead : asks(BlockMessageKind::kPut, reply, head);
    if (!block) return std::nullopt;
    free = std::max(free, loop.now()) + each;
    std::vector<Duration> once{free - loop.now()};
    return once;
  }
};

}  // namespace

TEST_CASE("blocks: over a slow link many puts take their time; where none gets through, 10 s") {
  BlockCluster c(11);
  c.net.cut_both(c.nodes[0].id, c.nodes[2].id);
  auto link = std::make_shared<SlowLink>(SlowLink{c.loop, seconds(2)});
  c.net.script = [link](const NodeId&, const NodeId&, bool reply, const std::string& head) {
    return (*link)(reply, head);
  };
  Scope scope;
  size_t good = 0;
  TimePoint began = c.loop.now(), last;
  for (uint32_t i = 0; i < 12; ++i)
    scope.spawn(put_one(c, block(1, i), 20000, good, last, seconds(50)));
  c.loop.run(scope.join());
  EXPECT(good == 12);
  EXPECT(last - began >= seconds(24));
  // It answers questions as before, but takes no block any more.
  link->each = std::chrono::hours(1);
  began = c.loop.now();
  scope.spawn(put_one(c, block(2, 0), 20000, good, last, seconds(50)));
  c.loop.run(scope.join());
  EXPECT(good == 12);
  EXPECT(last - began >= seconds(10));
  EXPECT(last - began < seconds(15));
  c.net.script = nullptr;
}

TEST_CASE("blocks: a copy that got lost is not waited for because others get through") {
  BlockCluster c(13);
  c.net.cut_both(c.nodes[0].id, c.nodes[2].id);
  bool lose = true;
  c.net.script = [&lose](const NodeId&, const NodeId&, bool reply, const std::string& head) {
    std::optional<std::vector<Duration>> copies;
    if (asks(BlockMessageKind::kPut, reply, head) && std::exchange(lose, false)) copies.emplace();
    return copies;
  };
  Scope scope;
  size_t good = 0, lost = 0;
  TimePoint began = c.loop.now(), gave_up, last;
  scope.spawn(put_one(c, block(1, 0), 20000, lost, gave_up, seconds(50)));
  for (uint32_t i = 1; i <= 40; ++i) {
    c.loop.run_for(seconds(1));
    scope.spawn(put_one(c, block(1, i), 20000, good, last, seconds(50)));
  }
  c.loop.run(scope.join());
  EXPECT(good == 40);
  EXPECT(lost == 0);
  EXPECT(gave_up - began < seconds(25));
  c.net.script = nullptr;
}

TEST_CASE("blocks: a read over a slow link is asked of one node, and of another if it is late") {
  BlockCluster c(12, 4);
  for (uint32_t i = 0; i < 12; ++i) REQUIRE(c.put(0, block(1, i), 200000));
  c.loop.run_for(seconds(1));
  auto link = std::make_shared<SlowLink>(SlowLink{c.loop, milliseconds(400)});
  c.net.script = [link](const NodeId&, const NodeId&, bool reply, const std::string& head) {
    return (*link)(reply, head);
  };
  REQUIRE(c.get(3, block(1, 0), 200000));
  EXPECT(link->gets == 3);  // nothing is known of the link yet
  c.loop.run_for(seconds(2));
  for (uint32_t i = 1; i < 12; ++i) {
    REQUIRE(c.get(3, block(1, i), 200000));
    EXPECT(link->gets == 3 + i);
  }
  // The one that was asked falls silent: another one is asked, and then those that answer.
  for (size_t at : {0, 1}) c.net.cut_both(c.nodes[3].id, c.nodes[at].id);
  TimePoint began = c.loop.now();
  REQUIRE(c.get(3, block(1, 0), 200000));
  EXPECT(c.loop.now() - began < seconds(5));
  // Everybody does: it says so before its deadline.
  c.net.cut_both(c.nodes[3].id, c.nodes[2].id);
  began = c.loop.now();
  Result<Blob> none =
      c.loop.run(c.nodes[3].service->get(kHome, block(1, 1), 0, 200000, c.loop.after(seconds(50))));
  EXPECT(none.is(ErrorCode::kUnavailable));
  EXPECT(c.loop.now() - began < seconds(5));
  c.net.script = nullptr;
}
