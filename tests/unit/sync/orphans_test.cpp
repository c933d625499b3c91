// Blocks without rows go, blocks with any row stay, whatever is lost, late or away in between.
#include "store/sync/orphans.h"

#include "proto/rows.pb.h"
#include "store/meta/refused.h"
#include "store/objects/keys.h"
#include "store/objects/tables.h"
#include "store/register/acceptor.h"
#include "tests/unit/block/block_cluster.h"

using namespace covey;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

constexpr size_t kSize = 20000;
constexpr Duration kAge = minutes(60);

struct OrphanCluster : BlockCluster {
  explicit OrphanCluster(uint64_t number)
      : BlockCluster(number),
        garbage(loop, 1),
        tables(garbage),
        set({&tables.heads, &tables.parts}) {
    for (size_t at = 0; at < nodes.size(); ++at) serve(at);
  }
  ~OrphanCluster() {
    for (BlockMember& m : nodes) m.peers.back()->down();
    for (BlockMember& m : nodes) loop.run(m.peers.back()->idle());
  }
  void serve(size_t at) {
    BlockMember& m = nodes[at];
    orphans[at] = std::make_unique<Orphans>(m.node.host.runtime(), *m.node.kv, *m.peers.back(),
                                            m.topology, *m.service, OrphanSettings{kAge, kAge});
    m.peers.back()->serve(PeerService::kOrphans, *orphans[at]);
  }
  void restart(size_t at) {
    REQUIRE(loop.run(nodes[at].node.kv->fold()));
    nodes[at].stop();
    nodes[at].start();
    serve(at);
  }
  void fill(uint8_t version, uint32_t part = 0) {
    for (uint32_t i = 0; i < 3; ++i) {
      BlockId id = block(version, i);
      BlockOwner owner = BlockNode::owner(id);
      owner.part = part;
      Blob bytes = Blob::own(BlockNode::payload(id, kSize));
      REQUIRE(loop.run(nodes[i].service->put(kHome, id, owner, bytes, loop.after(seconds(5)))));
    }
    loop.run_for(seconds(1));
  }
  size_t held(uint8_t version) {
    size_t count = 0;
    for (size_t at = 0; at < 3; ++at)
      for (uint32_t i = 0; i < 3; ++i) count += holds(at, block(version, i));
    return count;
  }
  bool refused(size_t at, uint8_t version) {
    return nodes[at].node.store->refused(block(version, 0).version);
  }
  Result<size_t> sweep(size_t at) { return loop.run(orphans[at]->sweep(kHome)); }
  static Task<void> sweep_into(Orphans& orphans, Result<size_t>* result) {
    *result = co_await orphans.sweep(kHome);
  }
  // A replica is cut off from the judge once that has refused the version itself.
  Result<size_t> sweep_without(size_t judge, size_t away, uint8_t version) {
    Result<size_t> swept = size_t{0};
    Scope scope;
    scope.spawn(sweep_into(*orphans[judge], &swept));
    REQUIRE(loop.run_until([&] { return refused(judge, version); }));
    net.cut_both(nodes[judge].id, nodes[away].id);
    loop.run(scope.join());
    return swept;
  }

  static rows::Extent extent(uint8_t version) {
    rows::Extent extent;
    extent.set_version(std::string(block(version, 0).version.view()));
    extent.set_home(kHome);
    extent.set_block_bytes(kSize);
    extent.set_size(3 * kSize);
    return extent;
  }
  static rows::HeadRow head(uint8_t version) {
    rows::HeadRow head;
    head.set_version(std::string(block(version, 0).version.view()));
    *head.add_extents() = extent(version);
    return head;
  }
  static Entry entry(std::string row, uint64_t counter = 1) {
    Entry entry;
    entry.rank.ballot = {1, counter, 7, 1};
    entry.rank.seq = 1;
    entry.row = std::move(row);
    return entry;
  }
  // What a replica does with an Accept from the partition's holder.
  bool accept(size_t at, TableId table, std::string key, std::string row, uint64_t counter = 1) {
    Acceptor acceptor(*nodes[at].node.kv, set);
    auto outcome = acceptor.accept({table, kHome, std::move(key)}, entry(std::move(row), counter),
                                   {}, Fence{}, 1);
    if (outcome.reply.answer != Answer::kYes) return false;
    REQUIRE(loop.run(nodes[at].node.kv->write(std::move(outcome.batch))));
    return true;
  }
  bool accept_head(size_t at, uint8_t version) {
    return accept(at, TableId::kHeads, "key", head(version).SerializeAsString());
  }
  void write(size_t at, std::string key, std::string value) {
    WriteBatch batch;
    batch.put(std::move(key), std::move(value));
    REQUIRE(loop.run(nodes[at].node.kv->write(std::move(batch))));
  }

  GarbageClock garbage;
  ObjectTables tables;
  TableSet set;
  std::map<size_t, std::unique_ptr<Orphans>> orphans;
};

}  // namespace

TEST_CASE("orphans: old blocks without any row go on every replica, young ones stay") {
  OrphanCluster c(1);
  c.fill(1);
  EXPECT(*c.sweep(0) == 0);
  c.loop.run_for(kAge);
  c.fill(2);
  EXPECT(*c.sweep(0) == 0);  // in the same segment: what was written last counts for all of it
  c.loop.run_for(kAge + seconds(1));
  EXPECT(*c.sweep(1) == 2);
  EXPECT(c.held(1) == 0);
  EXPECT(c.held(2) == 0);
  for (size_t at = 0; at < 3; ++at) {
    EXPECT(c.refused(at, 1));
    EXPECT_FALSE(c.accept_head(at, 1));
  }
  EXPECT(c.put(0, block(1, 7)).is(ErrorCode::kStale));
  EXPECT(*c.sweep(0) == 0);
}

TEST_CASE("orphans: nothing is judged while any node keeps a row for others") {
  OrphanCluster c(9);
  c.fill(1);
  c.loop.run_for(kAge + seconds(1));
  std::string hint = table_begin(TableId::kHints);
  hint += "anything";
  c.write(2, hint, "a row of a partition that was out of reach");
  EXPECT(c.sweep(0).is(ErrorCode::kUnavailable));
  EXPECT(c.held(1) == 9);
  EXPECT_FALSE(c.refused(0, 1));
  WriteBatch handed_over;
  handed_over.erase(hint);
  REQUIRE(c.loop.run(c.nodes[2].node.kv->write(std::move(handed_over))));
  EXPECT(*c.sweep(0) == 1);
  EXPECT(c.held(1) == 0);
}

TEST_CASE(
    "orphans: a row of any kind and state, at one replica only, keeps the blocks everywhere") {
  OrphanCluster c(2);
  for (uint8_t version = 1; version <= 6; ++version) c.fill(version, version == 2 ? 5 : 0);
  c.loop.run_for(kAge + seconds(1));
  REQUIRE(c.accept_head(2, 1));  // not committed, not on a quorum
  rows::PartRow part;
  *part.mutable_part()->add_extents() = OrphanCluster::extent(2);
  REQUIRE(c.accept(1, TableId::kParts, "part", part.SerializeAsString()));
  rows::ManifestChunk chunk;
  *chunk.add_parts()->add_extents() = OrphanCluster::extent(3);
  c.write(2, attachment_store_key(kHome, block(77, 0).version, manifest_suffix(0)),
          chunk.SerializeAsString());
  rows::GarbageRow garbage;
  garbage.set_table(static_cast<uint32_t>(TableId::kHeads));
  garbage.set_partition(kHome);
  garbage.set_row(OrphanCluster::head(4).SerializeAsString());
  c.write(0, table_begin(TableId::kGarbage) + "12345678", garbage.SerializeAsString());
  c.write(1, register_store_key(block_ref_key(kHome, block(5, 0).version, block(78, 0).version)),
          encode_entry(OrphanCluster::entry("+")));
  for (size_t at = 0; at < 3; ++at) {
    auto swept = c.sweep(at);
    REQUIRE(swept);
    EXPECT(*swept == (at == 0 ? 1 : 0));  // number 6
  }
  EXPECT(c.held(6) == 0);
  for (uint8_t version = 1; version <= 5; ++version) {
    CAPTURE(version);
    EXPECT(c.held(version) == 9);
    for (size_t at = 0; at < 3; ++at) EXPECT_FALSE(c.refused(at, version));
  }
  // So the row that one replica has can still be chosen.
  EXPECT(c.accept_head(0, 1));
  EXPECT(c.accept_head(1, 1));
}

TEST_CASE("orphans: nothing goes while a replica is away, an Accept is refused meanwhile") {
  OrphanCluster c(3);
  c.fill(1);
  c.loop.run_for(kAge + seconds(1));
  EXPECT_FALSE(c.sweep_without(0, 2, 1));
  EXPECT(c.held(1) == 9);
  EXPECT(c.refused(0, 1));
  EXPECT_FALSE(c.accept_head(0, 1));  // the late Accept
  // It was accepted where nobody had refused: known there, so all take it.
  REQUIRE(c.accept_head(2, 1));
  c.net.heal();
  EXPECT(*c.sweep(0) == 0);
  EXPECT(c.held(1) == 9);
  for (size_t at = 0; at < 3; ++at) EXPECT(c.accept_head(at, 1));
}

TEST_CASE("orphans: an Accept at any moment of a judgement") {
  // The Accept reaches one replica `delay` after the judgement began: either it is refused there
  // and the blocks go, or it stands and all blocks stay.
  size_t took = 0, gone = 0;
  for (int64_t step = 0; step < 60; ++step) {
    CAPTURE(step);
    OrphanCluster c(static_cast<uint64_t>(100 + step));
    for (BlockMember& m : c.nodes) {
      m.node.host.disk.faults.latency_min = std::chrono::microseconds(200);
      m.node.host.disk.faults.latency_max = std::chrono::milliseconds(2);
    }
    c.fill(1);
    c.loop.run_for(kAge + seconds(1));
    size_t at = static_cast<size_t>(step % 3);
    Scope scope;
    Result<size_t> swept = size_t{0};
    scope.spawn(OrphanCluster::sweep_into(*c.orphans[0], &swept));
    c.loop.run_for(std::chrono::microseconds(300 * step));
    bool accepted = c.accept_head(at, 1);
    c.loop.run(scope.join());
    REQUIRE(swept);
    c.loop.run_for(seconds(1));
    if (accepted) {
      ++took;
      EXPECT(*swept == 0);
      EXPECT(c.held(1) == 9);
      for (size_t i = 0; i < 3; ++i) EXPECT(c.accept_head(i, 1));
    } else {
      ++gone;
      EXPECT(*swept == 1);
      EXPECT(c.held(1) == 0);
      for (size_t i = 0; i < 3; ++i) EXPECT_FALSE(c.accept_head(i, 1));
    }
  }
  EXPECT(took > 5);
  EXPECT(gone > 5);
}

TEST_CASE("orphans: a judge that crashed goes on, one that left is replaced") {
  OrphanCluster c(4);
  c.fill(1);
  c.loop.run_for(kAge + seconds(1));
  EXPECT_FALSE(c.sweep_without(0, 2, 1));
  c.restart(0);
  c.net.heal();
  EXPECT(*c.sweep(1) == 0);  // that is node 0's case
  EXPECT(c.held(1) == 9);
  c.loop.run_for(kAge + seconds(1));
  EXPECT(*c.sweep(0) == 1);
  EXPECT(c.held(1) == 0);

  c.fill(2);
  c.loop.run_for(kAge + seconds(1));
  EXPECT_FALSE(c.sweep_without(0, 2, 2));
  c.net.heal();
  for (BlockMember& m : c.nodes) m.topology.adopt(c.state(3, {1, 2}));
  EXPECT(*c.sweep(1) == 1);
  EXPECT_FALSE(c.holds(1, block(2, 0)));
  EXPECT_FALSE(c.holds(2, block(2, 0)));
}

TEST_CASE("orphans: who missed the last word judges for itself") {
  OrphanCluster c(5);
  c.fill(1);
  c.loop.run_for(kAge + seconds(1));
  // c answers the question, but hears nothing afterwards.
  std::string pending;
  c.net.cut(c.nodes[0].id, c.nodes[2].id);
  EXPECT_FALSE(c.sweep(0));
  c.net.heal();
  REQUIRE(c.loop.run(c.nodes[0].service->drop_local(kHome, block(1, 0).version)));
  REQUIRE(c.loop.run(c.nodes[1].service->drop_local(kHome, block(1, 0).version)));
  EXPECT(c.holds(2, block(1, 0)));
  EXPECT(*c.sweep(2) == 1);
  EXPECT(c.held(1) == 0);
}

TEST_CASE("orphans: a committed row from another replica lifts a refusal") {
  OrphanCluster c(6);
  c.fill(1);
  c.write(0, refused_store_key(block(1, 0).version), "");
  Acceptor acceptor(*c.nodes[0].node.kv, c.set);
  Entry entry = OrphanCluster::entry(OrphanCluster::head(1).SerializeAsString());
  entry.committed = true;
  WriteBatch batch;
  REQUIRE(acceptor.merge({TableId::kHeads, kHome, "key"}, entry, {}, batch));
  REQUIRE(c.loop.run(c.nodes[0].node.kv->write(std::move(batch))));
  EXPECT_FALSE(c.refused(0, 1));
}
