// The scrub finds every damaged copy, the repair queue replaces it; position, pause and pace.
#include "store/sync/scrub.h"

#include "tests/unit/block/block_cluster.h"

using namespace covey;
using std::chrono::seconds;

namespace {

constexpr uint32_t kBlocks = 60;
constexpr uint32_t kSize = 20000;

struct ScrubNode {
  explicit ScrubNode(BlockMember& member, Duration interval = std::chrono::hours(1))
      : repair(member.node.host.runtime(), *member.node.kv, member.topology, *member.service),
        scrub(member.node.host.runtime(), *member.node.kv, member.topology, *member.service, repair,
              ScrubSettings{interval}),
        loop(member.node.host.loop) {
    REQUIRE(scrub.open());
    scope.spawn(scrub.run(scope));
  }
  ~ScrubNode() {
    scope.request_stop();
    loop.run(scope.join());
  }
  BlockRepair repair;
  Scrub scrub;
  SimLoop& loop;
  Scope scope;
};

struct ScrubCluster : BlockCluster {
  using BlockCluster::BlockCluster;
  void fill() {
    for (uint32_t i = 0; i < kBlocks; ++i) REQUIRE(put(i % 3, block(1, i), kSize));
    loop.run_for(seconds(30));
  }
  std::vector<std::string> segments(size_t at) {
    std::vector<std::string> found;
    for (const std::string& p : nodes[at].node.host.disk.paths())
      if (p.ends_with(".seg")) found.push_back(p);
    return found;
  }
  // Reads every byte at one node, which may ask nobody.
  size_t good_at(size_t at) {
    size_t good = 0;
    for (uint32_t i = 0; i < kBlocks; ++i) {
      auto got = nodes[at].node.get_now(block(1, i), 0, kSize);
      good += got && got->view() == BlockNode::payload(block(1, i), kSize);
    }
    return good;
  }
  void cut_short(size_t at, const std::string& path, uint64_t bytes) {
    auto file = loop.run(nodes[at].node.host.disk.open(path, Disk::Open::kReadWrite));
    REQUIRE(file);
    REQUIRE(loop.run((*file)->truncate(bytes)));
  }
};

}  // namespace

TEST_CASE(
    "scrub: flipped bits are found without a read, set aside, kept, and replaced in a minute") {
  ScrubCluster c(1);
  c.fill();
  SimDisk& disk = c.nodes[0].node.host.disk;
  SimRng rng(5);
  for (const std::string& p : c.segments(0))
    for (int flips = 0; flips < 25; ++flips)
      disk.flip_bit(p, 64 + rng.below(1000000), static_cast<uint8_t>(rng.below(8)));
  ScrubNode node(c.nodes[0]);
  node.scrub.start();
  EXPECT(c.loop.run_until([&] { return node.scrub.progress().passes == 1; }, seconds(600)));
  uint64_t bad = node.scrub.progress().bad_blocks;
  EXPECT(bad >= 10);
  EXPECT(node.scrub.progress().checked_blocks >= kBlocks - bad);
  EXPECT(c.nodes[0].node.store->quarantined() == bad);
  c.loop.run_for(seconds(60));
  EXPECT(c.good_at(0) == kBlocks);
  EXPECT(c.nodes[0].service->usage().to_repair == 0);
  size_t kept = 0;
  for (const std::string& p : disk.paths()) kept += p.find("/quarantine/") != p.npos;
  EXPECT(kept == bad);
  node.scrub.start();
  EXPECT(c.loop.run_until([&] { return node.scrub.progress().passes == 2; }, seconds(600)));
  EXPECT(node.scrub.progress().bad_blocks == 0);
}

TEST_CASE("scrub: a truncated segment and a lost one are filled again") {
  ScrubCluster c(2);
  c.fill();
  std::vector<std::string> paths = c.segments(0);
  REQUIRE(paths.size() >= 2);
  c.cut_short(0, paths[0], 300001);
  c.nodes[0].stop();
  REQUIRE(c.loop.run(c.nodes[0].node.host.disk.remove(paths[1])));
  c.nodes[0].start();
  ScrubNode node(c.nodes[0]);
  node.scrub.start();
  EXPECT(c.loop.run_until([&] { return node.scrub.progress().passes == 1; }, seconds(600)));
  c.loop.run_for(seconds(60));
  EXPECT(c.good_at(0) == kBlocks);
}

TEST_CASE("scrub: a read that fails repairs without waiting for a pass") {
  ScrubCluster c(3);
  c.fill();
  for (const std::string& p : c.segments(1))
    for (uint64_t at = 10000; at < 1000000; at += 41000)
      c.nodes[1].node.host.disk.flip_bit(p, at, 1);
  uint32_t bad = 0;
  for (uint32_t i = 0; i < kBlocks; ++i) {
    auto got = c.get(1, block(1, i), kSize);
    REQUIRE(got);
    EXPECT(got->view() == BlockNode::payload(block(1, i), kSize));
  }
  bad = static_cast<uint32_t>(c.nodes[1].node.store->quarantined());
  EXPECT(bad > 10);
  // One source is away: the other does.
  c.nodes[1].topology.dead.insert(c.nodes[0].id);
  c.loop.run_for(seconds(60));
  EXPECT(c.good_at(1) == kBlocks);
}

TEST_CASE("scrub: the queue waits for a peer and survives a restart") {
  ScrubCluster c(4);
  c.fill();
  for (const std::string& p : c.segments(1))
    for (uint64_t at = 10000; at < 1000000; at += 41000)
      c.nodes[1].node.host.disk.flip_bit(p, at, 1);
  c.net.cut_both(c.nodes[1].id, c.nodes[0].id);
  c.net.cut_both(c.nodes[1].id, c.nodes[2].id);
  {
    ScrubNode node(c.nodes[1]);
    node.scrub.start();
    c.loop.run_for(seconds(400));
    EXPECT(node.scrub.progress().bad_blocks > 10);
    EXPECT(c.nodes[1].service->usage().to_repair == node.scrub.progress().bad_blocks);
  }
  REQUIRE(c.loop.run(c.nodes[1].node.kv->fold()));
  c.nodes[1].stop();
  c.nodes[1].start();
  c.net.heal();
  c.loop.run_for(seconds(60));
  EXPECT(c.good_at(1) == kBlocks);
  EXPECT(c.nodes[1].service->usage().to_repair == 0);
}

TEST_CASE("scrub: a node alone does not count for ever what nobody can repair and no row names") {
  ScrubCluster c(7);
  for (BlockMember& m : c.nodes) m.topology.adopt(c.state(2, {0}));
  c.fill();
  for (const std::string& p : c.segments(0)) c.nodes[0].node.host.disk.flip_bit(p, 70000, 1);
  ScrubNode node(c.nodes[0]);
  node.scrub.start();
  EXPECT(c.loop.run_until([&] { return node.scrub.progress().passes == 1; }, seconds(600)));
  EXPECT(node.scrub.progress().bad_blocks > 0);
  c.loop.run_for(seconds(30));
  EXPECT(c.nodes[0].service->usage().to_repair == 0);
}

TEST_CASE("scrub: it goes on where it was after a restart, and rests while paused") {
  ScrubCluster c(5);
  c.fill();
  uint64_t checked = 0;
  {
    ScrubNode node(c.nodes[0]);
    EXPECT_FALSE(node.scrub.progress().running);  // a new node: nothing is due
    c.loop.run_for(std::chrono::minutes(59));
    EXPECT_FALSE(node.scrub.progress().running);
    EXPECT(c.loop.run_until([&] { return node.scrub.progress().checked_blocks > 20; },
                            std::chrono::minutes(5)));
    node.scrub.pause(true);
    c.loop.run_for(seconds(5));
    checked = node.scrub.progress().checked_blocks;
    c.loop.run_for(seconds(100));
    EXPECT(node.scrub.progress().checked_blocks == checked);
    EXPECT(checked < kBlocks);
  }
  REQUIRE(c.loop.run(c.nodes[0].node.kv->fold()));
  c.nodes[0].stop();
  c.nodes[0].start();
  ScrubNode node(c.nodes[0]);
  EXPECT(node.scrub.progress().paused);
  EXPECT(node.scrub.progress().running);
  EXPECT(node.scrub.progress().checked_blocks == checked);
  c.loop.run_for(seconds(30));
  EXPECT(node.scrub.progress().checked_blocks == checked);
  node.scrub.pause(false);
  EXPECT(c.loop.run_until([&] { return node.scrub.progress().passes == 1; }, seconds(600)));
  EXPECT(node.scrub.progress().checked_blocks == kBlocks);
  c.loop.run_for(std::chrono::minutes(5));
  EXPECT_FALSE(node.scrub.progress().running);
}

TEST_CASE("scrub: the slower the disk answers the more it rests") {
  ScrubCluster c(6);
  constexpr uint32_t kLarge = 20;  // small ones are read without a thread in between
  for (uint32_t i = 0; i < kLarge; ++i) REQUIRE(c.put(0, block(1, i), 200000));
  c.loop.run_for(seconds(30));
  ScrubNode node(c.nodes[0]);
  c.nodes[0].node.host.disk.faults.latency_min = std::chrono::milliseconds(200);
  c.nodes[0].node.host.disk.faults.latency_max = std::chrono::milliseconds(200);
  TimePoint start = c.loop.now();
  node.scrub.start();
  EXPECT(c.loop.run_until([&] { return node.scrub.progress().passes == 1; }, seconds(6000)));
  double took = std::chrono::duration<double>(c.loop.now() - start).count();
  EXPECT(took > 0.2 * 2 * kLarge * 0.8);  // as much rest as work, though it is in a hurry
}
