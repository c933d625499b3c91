#include "node/admin/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace covey {
namespace {

std::string plural(uint64_t n, std::string_view what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

const NodeView* find(const std::vector<NodeView>& nodes, const NodeId& id) {
  auto it = std::find_if(nodes.begin(), nodes.end(), [&](const auto& n) { return n.id == id; });
  return it == nodes.end() ? nullptr : &*it;
}

struct Reach {
  uint32_t without_quorum = 0;  // partitions that cannot be served now
  uint32_t on_the_edge = 0;     // partitions that one more failure would stop
};
Reach reach_of(const LayoutState& layout, const std::set<NodeId>& up) {
  Reach reach;
  for (PartitionId p = 0; p < layout.current.partitions(); ++p) {
    ReplicaSets sets = replica_sets(layout, p);
    std::vector<NodeId> live;
    for (const NodeId& id : sets.all())
      if (up.contains(id)) live.push_back(id);
    if (!sets.quorum(live)) {
      ++reach.without_quorum;
      continue;
    }
    for (size_t i = 0; i < live.size(); ++i) {
      std::vector<NodeId> fewer = live;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
      if (sets.quorum(fewer)) continue;
      ++reach.on_the_edge;
      break;
    }
  }
  return reach;
}

std::string good_news(const LayoutState& layout, size_t members, const Reach& reach) {
  if (members == 1) return "healthy: one node, one copy of everything; it may not fail";
  if (reach.on_the_edge > 0)
    return fmt::format("healthy: all {} nodes are up, but none may fail", members);
  return fmt::format("healthy: any one of {} nodes may fail", members);
}

}  // namespace

Health judge_health(const LayoutState* layout, const std::vector<NodeView>& nodes) {
  Health health;
  if (!layout || layout->current.members.empty()) {
    health.summary = "not ready: this node has not joined a cluster yet";
    health.next.push_back(
        "check that one of its `seeds` runs and holds the same secret: covey status (there)");
    return health;
  }
  std::set<NodeId> up;
  uint64_t owed = 0, quarantined = 0, to_repair = 0;
  for (const NodeView& node : nodes) {
    if (node.reachable() && !node.silent) up.insert(node.id);
    owed += node.copies_owed, quarantined += node.quarantined;
    to_repair += node.to_repair;
  }
  size_t members = layout->current.members.size(), down = 0;
  for (const Member& member : layout->current.members) {
    if (up.contains(member.id)) continue;
    ++down;
    const NodeView* node = find(nodes, member.id);
    const bool silent = node && node->silent;  // gossip takes longer to be sure
    health.problems.push_back(fmt::format("node {} (zone {}{}) {}", member.name, member.zone,
                                          node ? ", " + node->address : "",
                                          silent ? "does not answer" : "is down"));
    health.next.push_back(fmt::format("on {}: systemctl restart covey", member.name));
    health.next.push_back(
        fmt::format("if {} is lost for ever: covey node remove {}", member.name, member.name));
  }
  Reach reach = reach_of(*layout, up);
  if (reach.without_quorum > 0) {
    health.summary = fmt::format(
        "UNAVAILABLE: {} of {} partitions have lost their quorum ({} of {} nodes are down or cut "
        "off)",
        reach.without_quorum, layout->current.partitions(), down, members);
  } else if (down > 0) {
    health.summary = fmt::format(
        "degraded: {} of {} nodes down or cut off; everything is served, {}", down, members,
        reach.on_the_edge > 0 ? "but no further node may fail" : "and one more may fail");
  } else {
    health.summary = good_news(*layout, members, reach);
    health.healthy = true;
  }
  for (const NodeView& node : nodes) {
    if (node.partitions_behind == 0 || !node.member) continue;
    const std::string& because = node.behind_because;
    health.problems.push_back(
        fmt::format("a node was away: {} still compares {} with the others{}{}", node.name,
                    plural(node.partitions_behind, "partition"),
                    node.rows_behind > 0 ? ", lacking " + plural(node.rows_behind, "row") : "",
                    because.empty() ? "" : "; it tries again after: " + because));
    if (!health.healthy) continue;
    health.healthy = false;
    health.summary = fmt::format(
        "recovering: everything is served, node {} {}; wait before you stop another one", node.name,
        because.empty() ? "catches up" : "has not caught up: " + because);
  }
  if (owed > 0) {
    health.problems.push_back(plural(owed, "copy") == "1 copy"
                                  ? "1 copy is still to be written"
                                  : fmt::format("{} copies are still to be written", owed));
  }
  if (to_repair > 0)
    health.problems.push_back(plural(to_repair, "block") + " without a good copy on its node yet");
  if (quarantined > 0)
    health.problems.push_back(plural(quarantined, "record") +
                              " failed the checksum since the nodes started: check those disks");
  if (health.healthy && members < 3)
    health.next.push_back(fmt::format("to survive the loss of a node, have {}: covey invite",
                                      plural(3 - members, "more node")));
  return health;
}

}  // namespace covey
