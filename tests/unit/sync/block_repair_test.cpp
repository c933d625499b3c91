// Nodes that lack blocks, in and out of layout changes, on the simulated network.
#include "store/sync/block_repair.h"

#include "proto/rows.pb.h"
#include "store/meta/refused.h"
#include "store/objects/keys.h"
#include "store/objects/tables.h"
#include "store/register/entry.h"
#include "tests/unit/block/block_cluster.h"

using namespace covey;
using std::chrono::seconds;

namespace {

constexpr uint32_t kBlocks = 40;
constexpr size_t kSize = 20000;

struct RepairCluster : BlockCluster {
  using BlockCluster::BlockCluster;

  Result<BlockRepair::Report> catch_up(size_t at, Duration within = seconds(600)) {
    repair = std::make_unique<BlockRepair>(nodes[at].node.host.runtime(), *nodes[at].node.kv,
                                           nodes[at].topology, *nodes[at].service);
    return loop.run(repair->catch_up(kHome, loop.after(within)));
  }
  Status purge(size_t at) {
    BlockRepair mine(nodes[at].node.host.runtime(), *nodes[at].node.kv, nodes[at].topology,
                     *nodes[at].service);
    return loop.run(mine.purge(kHome, loop.after(seconds(600))));
  }
  void adopt(std::shared_ptr<const LayoutState> state) {
    for (BlockMember& m : nodes) m.topology.adopt(state);
  }
  void fill(uint8_t version = 1) {
    for (uint32_t i = 0; i < kBlocks; ++i) REQUIRE(put(i % 3, block(version, i), kSize));
    loop.run_for(seconds(2));
  }
  size_t held(size_t at, uint8_t version = 1) {
    size_t count = 0;
    for (uint32_t i = 0; i < kBlocks; ++i) count += holds(at, block(version, i));
    return count;
  }
  void write(size_t at, std::string key, std::string value) {
    WriteBatch batch;
    batch.put(std::move(key), std::move(value));
    REQUIRE(loop.run(nodes[at].node.kv->write(std::move(batch))));
  }
  static std::string entry(std::string row) {
    Entry entry;
    entry.rank.ballot.counter = 1;
    entry.committed = true;
    entry.row = std::move(row);
    return encode_entry(entry);
  }
  // Whose body is the blocks of `version`.
  static rows::HeadRow head(uint8_t version, uint32_t blocks) {
    rows::HeadRow head;
    rows::Extent& extent = *head.add_extents();
    extent.set_version(std::string(block(version, 0).version.view()));
    extent.set_home(kHome);
    extent.set_block_bytes(kSize);
    extent.set_size(uint64_t{blocks} * kSize);
    return head;
  }
  // A head at node `at`, another, displaced one, and a claim of a copy.
  void name(size_t at, uint8_t version, uint32_t blocks) {
    write(at, register_store_key({TableId::kHeads, kHome, "key"}),
          entry(head(version, blocks).SerializeAsString()));
  }
  void displace(size_t at, uint8_t version) {
    rows::GarbageRow garbage;
    garbage.set_table(static_cast<uint32_t>(TableId::kHeads));
    garbage.set_partition(kHome);
    garbage.set_row(head(version, 1).SerializeAsString());
    write(at, table_begin(TableId::kGarbage) + "12345678", garbage.SerializeAsString());
  }
  void claim(size_t at, uint8_t version, std::set<uint8_t> uses = {}) {
    RegisterKey key = block_ref_key(kHome, block(version, 0).version, block(99, 0).version);
    std::set<std::string> versions;
    for (uint8_t used : uses) versions.emplace(block(used, 0).version.view());
    write(at, register_store_key(key), entry(claim_row(versions)));
  }
  // From now on, of each node: the copies it was asked for.
  void count_asked() {
    asked.clear();
    net.script = [this](const NodeId&, const NodeId& to, bool reply, const std::string& head) {
      auto message = decode_block_message(head);
      if (!reply && message && message->kind == BlockMessageKind::kFetch) ++asked[to];
      return std::nullopt;
    };
  }
  // Its copy at `at` was found bad.
  void spoil(size_t at, uint8_t version, uint32_t index = 0) {
    BlockKey key{kHome, block(version, index)};
    REQUIRE(loop.run(nodes[at].node.store->forget({key})));
    nodes[at].service->wanted(key);
  }
  // Of the version's first block the only copy there was, at the first node, was found bad.
  void leave_bad(uint8_t version) {
    REQUIRE(put(0, block(version, 0), kSize));
    loop.run_for(seconds(1));
    for (size_t at = 1; at < 3; ++at)
      REQUIRE(loop.run(nodes[at].node.store->forget({{kHome, block(version, 0)}})));
    spoil(0, version);
  }
  std::vector<uint8_t> waiting(size_t at) {
    auto keys = nodes[at].service->waiting_repairs(kHome);
    REQUIRE(keys);
    std::vector<uint8_t> versions;
    for (const BlockKey& key : *keys)
      for (uint8_t version = 1; version < 10; ++version)
        if (key.id.version == block(version, 0).version) versions.push_back(version);
    return versions;
  }

  std::unique_ptr<BlockRepair> repair;
  std::map<NodeId, size_t> asked;
};

}  // namespace

TEST_CASE("block repair: a replica of the next layout gets everything once the others joined it") {
  RepairCluster c(1, 4);
  c.fill();
  EXPECT(c.held(3) == 0);
  auto joint = c.state(2, {0, 1, 2}, {1, 2, 3});
  EXPECT(c.catch_up(3).is(ErrorCode::kInvalid));
  c.nodes[3].topology.adopt(joint);
  // Lists of nodes that may still settle debts without this one do not count.
  EXPECT(c.catch_up(3).is(ErrorCode::kUnavailable));
  c.adopt(joint);
  auto report = c.catch_up(3);
  REQUIRE(report);
  EXPECT(report->blocks_fetched == kBlocks);
  EXPECT(report->bytes_fetched == kBlocks * kSize);
  EXPECT(report->blocks_missing == kBlocks);
  EXPECT(c.held(3) == kBlocks);
  EXPECT(c.repair->progress().blocks_missing == 0);
  EXPECT(c.repair->progress().bytes_missing == 0);
  EXPECT(c.repair->estimate(kHome) >= kBlocks * kSize);
  report = c.catch_up(3);
  REQUIRE(report);
  EXPECT(report->blocks_missing == 0);
}

TEST_CASE("block repair: a block put under the old layout reaches the new replica as a debt") {
  RepairCluster c(2, 4);
  c.fill();
  auto joint = c.state(2, {0, 1, 2}, {1, 2, 3});
  for (size_t at = 1; at < 4; ++at) c.nodes[at].topology.adopt(joint);  // not a
  c.catch_up(3).value();
  REQUIRE(c.put(0, block(2, 0), kSize));  // to a, b, c only
  c.loop.run_for(seconds(1));
  EXPECT_FALSE(c.holds(3, block(2, 0)));
  c.loop.run_for(seconds(60));
  EXPECT(c.holds(3, block(2, 0)));
}

TEST_CASE(
    "block repair: a wiped node is filled from what is left, past bad copies and dead nodes") {
  RepairCluster c(3);
  c.fill();
  std::vector<BlockKey> mine;
  for (uint32_t i = 0; i < kBlocks; ++i) mine.push_back({kHome, block(1, i)});
  REQUIRE(c.loop.run(c.nodes[0].node.store->forget(mine)));
  c.name(0, 1, kBlocks);
  SimDisk& disk = c.nodes[1].node.host.disk;
  for (const std::string& p : disk.paths())
    for (uint64_t at = 10000; p.ends_with(".seg") && at < 400000; at += 60000)
      disk.flip_bit(p, at, 2);
  auto report = c.catch_up(0);
  REQUIRE(report);
  EXPECT(c.held(0) == kBlocks);
  EXPECT(report->blocks_lost == 0);
  EXPECT(report->blocks_fetched == kBlocks);
  // With a third of the sources gone the rest must do, and does as long as nothing is missing.
  REQUIRE(c.loop.run(c.nodes[0].node.store->forget(mine)));
  c.nodes[1].stop();
  report = c.catch_up(0);
  REQUIRE(report);
  EXPECT(c.held(0) == kBlocks);
  c.nodes[2].stop();
  EXPECT(c.catch_up(0).is(ErrorCode::kUnavailable));
}

TEST_CASE(
    "block repair: sources about as near share in the blocks, one that lacks them is let be") {
  RepairCluster c(13);
  c.fill();
  std::vector<BlockKey> all;
  for (uint32_t i = 0; i < kBlocks; ++i) all.push_back({kHome, block(1, i)});
  REQUIRE(c.loop.run(c.nodes[0].node.store->forget(all)));
  c.count_asked();
  REQUIRE(c.catch_up(0));
  EXPECT(c.held(0) == kBlocks);
  const NodeId one = c.nodes[1].id, other = c.nodes[2].id;
  EXPECT(c.asked[one] + c.asked[other] == kBlocks);
  EXPECT(c.asked[one] > kBlocks / 4);
  EXPECT(c.asked[other] > kBlocks / 4);

  for (size_t at : {0, 1}) REQUIRE(c.loop.run(c.nodes[at].node.store->forget(all)));
  c.count_asked();
  REQUIRE(c.catch_up(0));
  EXPECT(c.held(0) == kBlocks);
  EXPECT(c.asked[one] < kBlocks / 4);
  EXPECT(c.asked[other] == kBlocks);
}

TEST_CASE("block repair: what a row names and nobody has is said, never silently passed over") {
  RepairCluster c(4);
  c.fill();
  c.name(0, 9, 3);
  auto report = c.catch_up(0);
  REQUIRE(report);
  EXPECT(report->blocks_lost == 3);
  c.nodes[2].stop();
  EXPECT(c.catch_up(0).is(ErrorCode::kUnavailable));  // it may be there
}

TEST_CASE("block repair: a node that was replaced is asked, and not waited for") {
  RepairCluster c(4, 4);
  c.fill();
  c.name(0, 9, 3);  // nobody has these
  auto joint = std::make_shared<LayoutState>(*c.state(2, {0, 1, 2}, {0, 1, 3}));
  c.adopt(joint);
  c.nodes[2].stop();
  EXPECT(c.catch_up(0).is(ErrorCode::kUnavailable));  // they may be there
  const NodeId gone = c.nodes[2].id;
  EXPECT(!joint->replaced(gone));
  auto replaced = std::make_shared<LayoutState>(*joint);
  auto named = [](Layout& layout, const NodeId& id) -> std::string& {
    return std::find_if(layout.members.begin(), layout.members.end(),
                        [&](const Member& m) { return m.id == id; })
        ->name;
  };
  named(*replaced->next, c.nodes[3].id) = named(replaced->current, gone);
  EXPECT(replaced->replaced(gone));
  EXPECT(!replaced->replaced(c.nodes[0].id));
  c.adopt(replaced);
  auto report = c.catch_up(0);
  REQUIRE(report);
  EXPECT(report->blocks_lost == 3);
}

TEST_CASE("block repair: reclaimed blocks do not come back") {
  RepairCluster c(5);
  c.fill();
  REQUIRE(c.loop.run(c.nodes[0].service->drop_local(kHome, block(1, 0).version)));
  c.name(0, 1, kBlocks);
  auto report = c.catch_up(0);
  REQUIRE(report);
  EXPECT(report->blocks_missing == 0);
  EXPECT(c.held(0) == 0);
  // The other way round: a row that is late names what the others have refused.
  REQUIRE(c.loop.run(c.nodes[1].service->drop_local(kHome, block(2, 0).version)));
  REQUIRE(c.loop.run(c.nodes[2].service->drop_local(kHome, block(2, 0).version)));
  c.name(0, 2, 4);
  report = c.catch_up(0);
  REQUIRE(report);
  EXPECT(report->blocks_lost == 0);
}

TEST_CASE("block repair: it stops in time and goes on where it was") {
  RepairCluster c(6, 4);
  c.fill();
  c.adopt(c.state(2, {0, 1, 2}, {1, 2, 3}));
  c.nodes[3].node.host.disk.faults.sync_latency = std::chrono::milliseconds(100);
  EXPECT(c.catch_up(3, seconds(1)).is(ErrorCode::kTimeout));
  size_t first = c.held(3);
  EXPECT(first > 0);
  EXPECT(first < kBlocks);
  auto report = c.catch_up(3);
  REQUIRE(report);
  EXPECT(report->blocks_fetched < kBlocks);
  EXPECT(c.held(3) == kBlocks);
}

TEST_CASE("block repair: a node that left gives up its blocks only when all replicas have them") {
  RepairCluster c(7, 4);
  c.fill();
  EXPECT(c.purge(0).is(ErrorCode::kInvalid));
  auto after = c.state(3, {1, 2, 3});
  c.adopt(after);
  // d was never filled: a hands over what d lacks before it drops anything.
  c.net.cut_both(c.nodes[0].id, c.nodes[3].id);
  EXPECT(c.purge(0).is(ErrorCode::kUnavailable));
  EXPECT(c.held(0) == kBlocks);
  c.net.heal();
  REQUIRE(c.purge(0));
  EXPECT(c.held(0) == 0);
  EXPECT(c.held(3) == kBlocks);
  EXPECT(c.nodes[0].node.store->bytes_of(kHome) == 0);
  for (uint32_t i = 0; i < kBlocks; ++i) {
    auto got = c.get(0, block(1, i), kSize);
    REQUIRE(got);
    EXPECT(got->view() == BlockNode::payload(block(1, i), kSize));
  }
}

TEST_CASE("block repair: a replica that is gone does not keep the others from what a node left") {
  for (size_t gone : {1, 2, 3}) {
    RepairCluster c(8, 4);
    c.fill();
    c.adopt(c.state(3, {1, 2, 3}));
    std::vector<BlockKey> all;
    for (uint32_t i = 0; i < kBlocks; ++i) all.push_back({kHome, block(1, i)});
    for (size_t n : {1, 2})
      REQUIRE(c.loop.run(c.nodes[n].node.store->forget(all)));  // a alone has them
    c.nodes[gone].stop();
    EXPECT(c.purge(0).is(ErrorCode::kUnavailable));
    EXPECT(c.held(0) == kBlocks);
    for (size_t n : {1, 2, 3})
      if (n != gone) EXPECT(c.held(n) == kBlocks);
  }
}

TEST_CASE("block repair: who is to be alone finds its bad copies before the others let go") {
  RepairCluster c(11);
  c.adopt(c.state(2, {0, 1}));
  c.fill();
  SimDisk& disk = c.nodes[0].node.host.disk;
  size_t flips = 0;
  for (const std::string& p : disk.paths())
    for (uint64_t at = 10000; p.ends_with(".seg") && at < 400000; at += 60000, ++flips)
      disk.flip_bit(p, at, 2);
  REQUIRE(flips > 0);
  // Two copies stay: the scrub may take its time.
  c.adopt(c.state(3, {0, 1}, {0, 2}));
  REQUIRE(c.catch_up(0));
  EXPECT(c.nodes[0].node.store->quarantined() == 0);

  c.adopt(c.state(4, {0, 1}, {0}));
  disk.faults.fail_reads = 1;
  EXPECT(c.catch_up(0).is(ErrorCode::kIo));  // nobody knows whether it is good
  disk.faults.latency_min = disk.faults.latency_max = std::chrono::milliseconds(10);
  const Duration little = std::chrono::milliseconds(500);
  EXPECT(c.catch_up(0, little).is(ErrorCode::kTimeout));
  bool done = false;
  for (int calls = 0; !done && calls < 50; ++calls)  // each goes on where the last one was
    done = c.loop.run(c.repair->catch_up(kHome, c.loop.after(little))).has_value();
  EXPECT(done);
  EXPECT(c.nodes[0].node.store->quarantined() >= 5);
  EXPECT(c.held(0) == kBlocks);
  c.adopt(c.state(5, {0}));
  REQUIRE(c.purge(1));
  REQUIRE(c.purge(2));
  c.nodes[1].stop();
  c.nodes[2].stop();
  for (uint32_t i = 0; i < kBlocks; ++i) {
    auto got = c.get(0, block(1, i), kSize);
    REQUIRE(got);
    EXPECT(got->view() == BlockNode::payload(block(1, i), kSize));
  }
}

TEST_CASE("block repair: what a replica cannot take is kept by the node that left") {
  RepairCluster c(12);
  c.fill();
  std::vector<BlockKey> all;
  for (uint32_t i = 0; i < kBlocks; ++i) all.push_back({kHome, block(1, i)});
  REQUIRE(c.loop.run(c.nodes[1].node.store->forget(all)));
  // Whether the version was reclaimed there is not known: its row cannot be read.
  const std::string refused = refused_store_key(all[0].id.version);
  MemoryRows& rows = c.nodes[1].node.rows;
  rows.rows[refused] = "";
  rows.damaged.insert(refused);
  c.adopt(c.state(3, {1, 2}));
  EXPECT(c.purge(0).is(ErrorCode::kUnavailable));
  EXPECT(c.held(0) == kBlocks);
  rows.damaged.erase(refused);
  rows.rows.erase(refused);
  REQUIRE(c.purge(0));
  EXPECT(c.held(0) == 0);
  EXPECT(c.held(1) == kBlocks);
}

TEST_CASE("block repair: debts to nodes that left vanish, debts of nodes that left are paid") {
  RepairCluster c(8, 4);
  c.net.cut_both(c.nodes[0].id, c.nodes[2].id);
  c.net.cut_both(c.nodes[1].id, c.nodes[2].id);
  for (uint32_t i = 0; i < kBlocks; ++i) REQUIRE(c.put(0, block(1, i), kSize));
  c.loop.run_for(seconds(60));
  EXPECT(c.nodes[0].service->usage().copies_owed >= kBlocks);
  // c is dead and removed; a leaves as well: b and d remain.
  c.adopt(c.state(3, {1, 3}));
  c.loop.run_for(seconds(120));
  EXPECT(c.held(3) == kBlocks);
  for (size_t at : {0, 1}) EXPECT(c.nodes[at].service->usage().copies_owed == 0);
  EXPECT(c.held(0) == 0);
}

TEST_CASE("block repair: a bad copy that nobody has and no row names is not sought for ever") {
  for (bool alone : {true, false}) {
    CAPTURE(alone);
    RepairCluster c(9);
    if (alone) c.adopt(c.state(2, {0}));
    for (uint8_t version = 1; version <= 6; ++version) c.leave_bad(version);
    c.name(0, 1, 1);
    c.displace(0, 2);
    // That of version 3 has its first block still; of version 9 nothing here says what its parts
    // are, and it might be any of these.
    REQUIRE(c.put(0, block(3, 1), kSize));
    c.claim(0, 3);
    rows::ManifestChunk chunk;
    *chunk.add_parts()->add_extents() = RepairCluster::head(4, 1).extents(0);
    c.write(0, attachment_store_key(kHome, block(77, 0).version, manifest_suffix(0)),
            chunk.SerializeAsString());
    c.claim(0, 9);
    c.claim(0, 8, {6, 7});  // it says what it keeps
    auto report = c.catch_up(0);
    REQUIRE(report);
    EXPECT(report->blocks_lost == 2);
    EXPECT(c.waiting(0) == std::vector<uint8_t>{1, 2, 3, 4, 5, 6});
    WriteBatch released;
    RegisterKey claimed = block_ref_key(kHome, block(9, 0).version, block(99, 0).version);
    released.erase(register_store_key(claimed));
    REQUIRE(c.loop.run(c.nodes[0].node.kv->write(std::move(released))));
    c.catch_up(0).value();
    EXPECT(c.waiting(0) == std::vector<uint8_t>{1, 2, 3, 4, 6});
    c.loop.run_for(seconds(30));
    EXPECT(c.nodes[0].service->usage().to_repair == 5);
    // What is given back need not be repaired.
    for (uint8_t version = 1; version <= 6; ++version)
      REQUIRE(c.loop.run(c.nodes[0].service->drop_local(kHome, block(version, 0).version)));
    c.loop.run_for(seconds(30));
    EXPECT(c.waiting(0).empty());
    EXPECT(c.nodes[0].service->usage().to_repair == 0);
  }
}

TEST_CASE(
    "block repair: what was given back and nobody has is sought no longer, whatever names it") {
  RepairCluster c(13);
  for (uint8_t version = 1; version <= 5; ++version) c.leave_bad(version);
  auto drop = [&](size_t at, uint8_t version) {
    REQUIRE(c.loop.run(c.nodes[at].service->drop_local(kHome, block(version, 0).version)));
  };
  // A manifest whose head never came, and nothing that says so.
  rows::ManifestChunk chunk;
  for (uint8_t version = 1; version <= 5; ++version)
    *chunk.add_parts()->add_extents() = RepairCluster::head(version, 1).extents(0);
  c.write(0, attachment_store_key(kHome, block(77, 0).version, manifest_suffix(0)),
          chunk.SerializeAsString());
  drop(1, 1), drop(2, 1);
  drop(1, 2);  // the other knows nothing of it, as one that joined since
  // A judge's refusal, who may take it back; and nobody refuses it at all.
  c.write(2, refused_store_key(block(3, 0).version), std::string(37, '\x01'));
  c.net.cut_both(c.nodes[0].id, c.nodes[2].id);  // it may have the blocks
  const std::string refused = refused_store_key(block(5, 0).version);
  MemoryRows& rows = c.nodes[2].node.rows;
  rows.rows[refused] = "";
  rows.damaged.insert(refused);
  EXPECT_FALSE(c.catch_up(0));
  c.loop.run_for(seconds(30));
  EXPECT(c.waiting(0) == std::vector<uint8_t>{1, 2, 3, 4, 5});
  c.net.heal();
  c.loop.run_for(seconds(30));
  EXPECT(c.waiting(0) == std::vector<uint8_t>{3, 4, 5});
  EXPECT(c.nodes[0].service->usage().to_repair == 3);
  rows.damaged.erase(refused);
  c.loop.run_for(seconds(30));
  EXPECT(c.waiting(0) == std::vector<uint8_t>{3, 4});
  drop(2, 3), drop(1, 4);
  c.loop.run_for(seconds(30));
  EXPECT(c.waiting(0).empty());
  EXPECT(c.nodes[0].service->usage().to_repair == 0);
  // Given up, not refused: a chosen row that comes yet finds it missing and looks for it.
  EXPECT_FALSE(c.nodes[0].node.store->refused(block(1, 0).version));
}

TEST_CASE("block repair: while a replica is silent no repair is given up") {
  RepairCluster c(10);
  REQUIRE(c.put(0, block(1, 0), kSize));
  c.loop.run_for(seconds(1));
  REQUIRE(c.loop.run(c.nodes[1].node.store->forget({{kHome, block(1, 0)}})));
  c.nodes[2].stop();  // it has the block
  c.spoil(0, 1);
  c.catch_up(0).value();
  EXPECT(c.waiting(0) == std::vector<uint8_t>{1});
  c.nodes[2].start();
  c.catch_up(0).value();
  EXPECT(c.holds(0, block(1, 0)));
}
