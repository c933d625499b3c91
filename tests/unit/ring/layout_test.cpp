#include "gossip/ring/layout.h"

#include "tests/unit/test.h"

#include <algorithm>
#include <random>

#include "gossip/ring/topology.h"

using namespace covey;

namespace {

NodeId node(uint8_t n) {
  NodeId id;
  id.bytes[0] = n;
  return id;
}

LayoutState state_of(size_t count, bool joint) {
  std::vector<Member> members;
  for (size_t i = 1; i <= count; ++i)
    members.push_back({node(static_cast<uint8_t>(i)), "n" + std::to_string(i),
                       "z" + std::to_string(i % 3), kGiB});
  LayoutState state;
  state.cluster.bytes[3] = 9;
  state.epoch = 4;
  state.current = *assign_layout(nullptr, {members[0]}, 256);
  if (joint) state.next = *assign_layout(&state.current, members, 256, 300);
  if (joint) state.departed = {node(40), node(7)};
  return state;
}

}  // namespace

TEST_CASE("a joint quorum needs both sets, and any two quorums meet in both") {
  ReplicaSets sets{{node(1), node(2), node(3)}, {node(3), node(4), node(5)}};
  auto all = sets.all();
  REQUIRE(all.size() == 5);
  EXPECT(all[0] == node(1));
  std::vector<std::vector<NodeId>> quorums;
  for (unsigned bits = 0; bits < 32; ++bits) {
    std::vector<NodeId> yes;
    for (unsigned i = 0; i < 5; ++i)
      if (bits >> i & 1) yes.push_back(all[i]);
    if (sets.quorum(yes)) quorums.push_back(yes);
  }
  EXPECT_FALSE(quorums.empty());
  for (const auto& a : quorums)
    for (const auto& b : quorums) {
      auto meets = [&](const std::vector<NodeId>& set) {
        for (const NodeId& n : set)
          if (std::find(a.begin(), a.end(), n) != a.end() &&
              std::find(b.begin(), b.end(), n) != b.end())
            return true;
        return false;
      };
      EXPECT(meets(sets.current));
      EXPECT(meets(sets.next));
    }
  EXPECT_FALSE(sets.quorum({node(1), node(2)}));
  EXPECT(sets.quorum({node(2), node(3), node(4)}));
}

TEST_CASE("layout states survive their byte form") {
  for (bool joint : {false, true}) {
    LayoutState state = state_of(5, joint);
    auto back = decode_layout_state(encode_layout_state(state));
    REQUIRE(back);
    EXPECT(*back == state);
  }
}

TEST_CASE("a replica keeps its tenure while it stays; who comes back begins another") {
  auto with = [](std::vector<uint8_t> nodes) {
    std::vector<Member> members;
    for (uint8_t n : nodes)
      members.push_back({node(n), "n" + std::to_string(n), "z" + std::to_string(n), kGiB});
    return members;
  };
  Layout one = *assign_layout(nullptr, with({1, 2, 3}), 64);
  Layout two = *assign_layout(&one, with({1, 2, 4}), 64, 2);
  Layout three = *assign_layout(&two, with({1, 2, 3}), 64, 4);
  for (PartitionId p = 0; p < 64; ++p) {
    EXPECT(one.tenure(p, node(3)) == 0u);
    EXPECT(two.tenure(p, node(1)) == 0u);
    EXPECT(two.tenure(p, node(4)) == 2u);
    EXPECT_FALSE(two.tenure(p, node(3)));
    EXPECT(three.tenure(p, node(3)) == 4u);
  }
  LayoutState joint{ClusterId(), 4, two, three, {}};
  EXPECT(joint.tenure(0, node(4)) == 2u);
  EXPECT(joint.tenure(0, node(3)) == 4u);
  EXPECT(replica_sets(joint, 0).changes());
  EXPECT_FALSE(replica_sets(LayoutState{ClusterId(), 4, two, two, {}}, 0).changes());
}

TEST_CASE("damaged layout records are refused, whatever the damage") {
  std::string good = encode_layout_state(state_of(4, true));
  for (size_t cut = 0; cut < good.size(); cut += 7)
    EXPECT_FALSE(decode_layout_state(good.substr(0, cut)));
  EXPECT_FALSE(decode_layout_state(good + "x"));
  std::mt19937_64 rng(1);
  for (int i = 0; i < 3000; ++i) {
    std::string bad = good;
    bad[rng() % bad.size()] ^= static_cast<char>(1 + rng() % 255);
    EXPECT_FALSE(decode_layout_state(bad));
  }
}

TEST_CASE("placement of keys is fixed for ever") {
  BucketId bucket;
  bucket.bytes[0] = 1;
  EXPECT(shard_partition(bucket, 0, 256) < 256);
  EXPECT(shard_partition(bucket, 3, 256) == 64u);
  // These figures are part of the on-disk format: a change of them loses every key.
  EXPECT(shard_of_key("hello", 8) == 5u);
  EXPECT(buckets_partition(256) == 0);
}
