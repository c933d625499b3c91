#include "gossip/ring/layout.h"

#include <algorithm>

namespace covey {
namespace {

bool contains(const std::vector<NodeId>& nodes, const NodeId& node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

bool majority(const std::vector<NodeId>& set, const std::vector<NodeId>& yes) {
  auto count = std::count_if(set.begin(), set.end(),
                             [&](const NodeId& node) { return contains(yes, node); });
  return static_cast<size_t>(count) * 2 > set.size();
}

}  // namespace

std::vector<NodeId> Layout::replicas(PartitionId partition) const {
  std::vector<NodeId> nodes;
  if (partition >= assignment.size()) return nodes;
  nodes.reserve(assignment[partition].size());
  for (uint16_t index : assignment[partition]) nodes.push_back(members[index].id);
  return nodes;
}

const Member* Layout::find(const NodeId& id) const {
  auto at =
      std::lower_bound(members.begin(), members.end(), id,
                       [](const Member& member, const NodeId& node) { return member.id < node; });
  return at != members.end() && at->id == id ? &*at : nullptr;
}

std::vector<NodeId> ReplicaSets::all() const {
  std::vector<NodeId> nodes = current;
  for (const NodeId& node : next)
    if (!contains(nodes, node)) nodes.push_back(node);
  return nodes;
}

bool ReplicaSets::quorum(const std::vector<NodeId>& yes) const {
  return majority(current, yes) && (next.empty() || majority(next, yes));
}

ReplicaSets replica_sets(const LayoutState& state, PartitionId partition) {
  ReplicaSets sets;
  sets.current = state.current.replicas(partition);
  if (state.next) sets.next = state.next->replicas(partition);
  return sets;
}

}  // namespace covey
