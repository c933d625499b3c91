#include "node/admin/health.h"

#include "tests/unit/test.h"

using namespace covey;

namespace {
NodeId id(int n) {
  NodeId out;
  out.bytes[0] = static_cast<uint8_t>(n);
  return out;
}
// Every partition on every one of `n` members.
LayoutState layout_of(int n) {
  LayoutState state;
  state.current.version = 1;
  state.current.copies = static_cast<uint32_t>(n);
  for (int i = 1; i <= n; ++i)
    state.current.members.push_back({id(i), "n" + std::to_string(i), "z", 1});
  std::vector<uint16_t> all;
  for (int i = 0; i < n; ++i) all.push_back(static_cast<uint16_t>(i));
  state.current.assignment.assign(8, all);
  return state;
}
std::vector<NodeView> views(int n, int dead) {
  std::vector<NodeView> out;
  for (int i = 1; i <= n; ++i) {
    NodeView view;
    view.id = id(i);
    view.state = i <= dead ? "dead" : "alive";
    out.push_back(view);
  }
  return out;
}
}  // namespace

TEST_CASE("the health of a cluster in one sentence") {
  LayoutState three = layout_of(3), one = layout_of(1);
  EXPECT(judge_health(&three, views(3, 0)).summary == "healthy: any one of 3 nodes may fail");
  EXPECT(judge_health(&three, views(3, 0)).healthy);
  EXPECT(judge_health(&three, views(3, 0)).next.empty());

  // A node that was away is not as good as one that never was, before it has compared.
  std::vector<NodeView> back = views(3, 0);
  back[1].name = "n2", back[1].member = true;
  back[1].partitions_behind = 1, back[1].rows_behind = 7;
  Health recovering = judge_health(&three, back);
  EXPECT_FALSE(recovering.healthy);
  EXPECT(recovering.summary.starts_with("recovering: everything is served, node n2 catches up"));
  REQUIRE(recovering.problems.size() == 1);
  EXPECT(recovering.problems[0].ends_with(
      "n2 still compares 1 partition with the others, lacking 7 rows"));
  // What lasts is said.
  back[1].behind_because = "no_space: the metadata disk is full: free space on it";
  recovering = judge_health(&three, back);
  EXPECT(recovering.summary.find("n2 has not caught up: no_space: the metadata disk is full") !=
         std::string::npos);
  EXPECT(recovering.problems[0].ends_with("free space on it"));

  Health degraded = judge_health(&three, views(3, 1));
  EXPECT_FALSE(degraded.healthy);
  EXPECT(degraded.summary.starts_with("degraded: 1 of 3 nodes down"));
  EXPECT(degraded.summary.ends_with("no further node may fail"));
  REQUIRE(degraded.next.size() == 2);
  EXPECT(degraded.next[1].ends_with("covey node remove n1"));

  // Gossip has not made up its mind yet; nobody may read "healthy" on a node that is cut off.
  std::vector<NodeView> cut = views(3, 0);
  cut[1].name = "n2", cut[1].silent = cut[2].silent = true;
  cut[2].state = "suspect";
  EXPECT(judge_health(&three, cut).summary.starts_with("UNAVAILABLE: 8 of 8"));
  REQUIRE(judge_health(&three, cut).problems.size() == 2);
  EXPECT(judge_health(&three, cut).problems[0].ends_with("does not answer"));
  EXPECT(judge_health(&three, cut).next.size() == 4);

  EXPECT(judge_health(&three, views(3, 2)).summary.starts_with("UNAVAILABLE: 8 of 8"));
  Health alone = judge_health(&one, views(1, 0));
  EXPECT(alone.healthy);
  EXPECT(alone.next.size() == 1);  // says how to grow
  EXPECT_FALSE(judge_health(nullptr, {}).healthy);
}
