// The join of rows of available buckets: its laws over rows as nodes make them (every actor's rows
// are kept and joined by random exchanges), and what it keeps.
#include "store/available/row.h"

#include <algorithm>

#include "base/core/codec.h"
#include "tests/sim/sim_rng.h"
#include "tests/unit/test.h"

namespace covey {
namespace {

NodeId node_of(uint8_t number) {
  NodeId node;
  node.bytes[0] = number;
  return node;
}

VersionId version_of(uint64_t number) {
  std::string bytes(VersionId::kSize, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(number >> (8 * i));
  return *VersionId::from_bytes(bytes);
}

// Nodes that write one key while they exchange rows at random.
struct World {
  explicit World(uint64_t seed, size_t nodes) : rng(seed), rows(nodes) {}

  void write(size_t node, bool tombstone = false) {
    AvailableRow& row = rows[node];
    Sibling fresh;
    fresh.stamp = {static_cast<int64_t>(rng.below(50)), static_cast<uint32_t>(rng.below(3)),
                   node_of(static_cast<uint8_t>(node))};
    // As a coordinator does it: above all that it has seen.
    if (row.winner() && row.winner()->stamp >= fresh.stamp) {
      fresh.stamp.wall_ms = row.winner()->stamp.wall_ms;
      fresh.stamp.counter = row.winner()->stamp.counter + 1;
    }
    fresh.dot = row.next_dot(node + 1, static_cast<int64_t>(rng.below(20)));
    fresh.version = version_of(++versions);
    fresh.tombstone = tombstone;
    fresh.row = tombstone ? "" : "row " + std::to_string(versions);
    const Dot top = row.winner() ? row.winner()->dot : Dot{};
    if (row.winner()) replaced.push_back(row.winner()->version);
    for (const Sibling& one : row.siblings)
      if (one.tombstone) replaced.push_back(one.version);
    written.push_back(fresh.version);
    row.write(std::move(fresh),
              [&](const Sibling& one) { return one.tombstone || one.dot == top; });
  }
  void remove(size_t node) {
    AvailableRow& row = rows[node];
    if (row.siblings.empty()) return;
    VersionId version = row.siblings[rng.below(row.siblings.size())].version;
    (void)row.next_dot(node + 1, 1);
    row.remove([&](const Sibling& one) { return one.version == version; });
    replaced.push_back(version);
  }
  void step() {
    size_t a = rng.below(rows.size()), b = rng.below(rows.size());
    uint64_t what = rng.below(10);
    if (what < 4) write(a);
    if (what == 4) write(a, true);
    if (what == 5) remove(a);
    if (what > 5) rows[a].join(rows[b]);
    seen.push_back(rows[a]);
  }

  SimRng rng;
  std::vector<AvailableRow> rows, seen;
  std::vector<VersionId> written, replaced;
  uint64_t versions = 0;
};

AvailableRow joined(AvailableRow a, const AvailableRow& b) {
  a.join(b);
  return a;
}

TEST_CASE("joining is commutative, associative and idempotent") {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    World world(seed, 4);
    for (int i = 0; i < 40; ++i) world.step();
    for (int i = 0; i < 60; ++i) {
      const AvailableRow& a = world.seen[world.rng.below(world.seen.size())];
      const AvailableRow& b = world.seen[world.rng.below(world.seen.size())];
      const AvailableRow& c = world.seen[world.rng.below(world.seen.size())];
      REQUIRE(joined(a, b) == joined(b, a));
      REQUIRE(joined(a, joined(b, c)) == joined(joined(a, b), c));
      REQUIRE(joined(a, a) == a);
      REQUIRE(joined(joined(a, b), b) == joined(a, b));
    }
  }
}

TEST_CASE("ranks rise with every join that adds something, and name one row") {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    World world(seed, 4);
    for (int i = 0; i < 40; ++i) world.step();
    for (int i = 0; i < 60; ++i) {
      const AvailableRow& a = world.seen[world.rng.below(world.seen.size())];
      const AvailableRow& b = world.seen[world.rng.below(world.seen.size())];
      AvailableRow both = joined(a, b);
      REQUIRE((both.rank() == a.rank()) == (both == a));
      REQUIRE(!(both.rank() < a.rank()));
      REQUIRE((a.rank() == b.rank()) == (a == b));
    }
  }
}

TEST_CASE("what was written is there, or was replaced or removed by one that saw it") {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    World world(seed, 3);
    for (int i = 0; i < 60; ++i) world.step();
    AvailableRow all;
    for (const AvailableRow& row : world.rows) all.join(row);
    for (AvailableRow& row : world.rows) REQUIRE(joined(row, all) == all);
    for (const VersionId& version : world.written) {
      bool there = std::any_of(all.siblings.begin(), all.siblings.end(),
                               [&](const Sibling& one) { return one.version == version; });
      bool replaced = std::count(world.replaced.begin(), world.replaced.end(), version) > 0;
      REQUIRE(there != replaced);
    }
  }
}

TEST_CASE("two sites write one key: the later is current, the other stays") {
  World world(1, 2);
  world.write(0);
  world.rows[1].join(world.rows[0]);
  world.write(0);
  world.write(1);
  AvailableRow all = joined(world.rows[0], world.rows[1]);
  REQUIRE(all.siblings.size() == 2);
  EXPECT(all.siblings[0].stamp > all.siblings[1].stamp);
  EXPECT(all.winner() == &all.siblings[0]);
  // The next write replaces what is current and keeps what lost.
  world.rows[0] = all;
  world.write(0);
  EXPECT(world.rows[0].siblings.size() == 2);
  EXPECT(world.rows[0].siblings[1] == all.siblings[1]);
}

TEST_CASE("a join of many sides is stored and read like any other row") {
  AvailableRow row;
  for (uint64_t actor = 1; actor <= 3000; ++actor) {
    AvailableRow side;
    Sibling one;
    one.dot = side.next_dot(actor, 5);
    one.stamp = {static_cast<int64_t>(actor), 0, node_of(1)};
    one.version = version_of(actor);
    side.write(std::move(one), [](const Sibling&) { return false; });
    row.join(side);
  }
  auto again = decode_available(encode_available(row));
  REQUIRE(again);
  EXPECT(again->siblings.size() == 3000);
  EXPECT(again->rank() == row.rank());
}

TEST_CASE("encoded and decoded again it is the same; damage is refused") {
  World world(3, 3);
  for (int i = 0; i < 50; ++i) world.step();
  for (const AvailableRow& row : world.seen) {
    std::string bytes = encode_available(row);
    auto again = decode_available(bytes);
    REQUIRE(again.has_value());
    REQUIRE(*again == row);
    for (size_t cut = 0; cut < bytes.size(); ++cut)
      REQUIRE(decode_available(std::string_view(bytes).substr(0, cut)).is(ErrorCode::kCorrupt));
  }
}

TEST_CASE("siblings that no join leaves behind are refused") {
  World world(1, 2);
  world.write(0);
  world.write(1);
  AvailableRow both = joined(world.rows[0], world.rows[1]);
  REQUIRE(both.siblings.size() == 2);
  auto refused = [](const AvailableRow& row) {
    return decode_available(encode_available(row)).is(ErrorCode::kCorrupt);
  };
  EXPECT(!refused(both));

  AvailableRow unseen = both;
  unseen.context.erase(both.siblings[0].dot.actor);
  EXPECT(refused(unseen));

  AvailableRow turned = both;
  std::swap(turned.siblings[0], turned.siblings[1]);
  EXPECT(refused(turned));

  AvailableRow twice = both;
  twice.siblings[1].dot = twice.siblings[0].dot;
  EXPECT(refused(twice));
}

}  // namespace
}  // namespace covey
