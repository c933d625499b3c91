#include "gossip/ring/layout.h"

#include <algorithm>

namespace covey {

bool has_node(const std::vector<NodeId>& nodes, const NodeId& node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

bool is_majority(const std::vector<NodeId>& set, const std::vector<NodeId>& yes) {
  auto count = std::count_if(set.begin(), set.end(),
                             [&](const NodeId& node) { return has_node(yes, node); });
  return static_cast<size_t>(count) * 2 > set.size();
}

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

std::optional<uint32_t> Layout::tenure(PartitionId partition, const NodeId& node) const {
  if (partition >= assignment.size()) return std::nullopt;
  const auto& replicas = assignment[partition];
  for (size_t i = 0; i < replicas.size(); ++i)
    if (members[replicas[i]].id == node) return since.empty() ? 0 : since[partition][i];
  return std::nullopt;
}

std::optional<uint32_t> LayoutState::tenure(PartitionId partition, const NodeId& node) const {
  auto now = current.tenure(partition, node);
  return now || !next ? now : next->tenure(partition, node);
}

bool LayoutState::has_departed(const NodeId& node) const { return has_node(departed, node); }

bool LayoutState::replaced(const NodeId& node) const {
  if (!next) return false;
  const Member* old = current.find(node);
  if (!old) return false;
  return std::any_of(next->members.begin(), next->members.end(), [&](const Member& member) {
    return member.name == old->name && member.id != node;
  });
}

std::vector<NodeId> ReplicaSets::all() const {
  std::vector<NodeId> nodes = current;
  for (const NodeId& node : next)
    if (!has_node(nodes, node)) nodes.push_back(node);
  return nodes;
}

bool ReplicaSets::quorum(const std::vector<NodeId>& yes) const {
  return is_majority(current, yes) && (next.empty() || is_majority(next, yes));
}

bool ReplicaSets::changes() const {
  if (next.empty()) return false;
  return current.size() != next.size() ||
         std::any_of(next.begin(), next.end(),
                     [this](const NodeId& node) { return !has_node(current, node); });
}

ReplicaSets replica_sets(const LayoutState& state, PartitionId partition) {
  ReplicaSets sets;
  sets.current = state.current.replicas(partition);
  if (state.next) sets.next = state.next->replicas(partition);
  return sets;
}

}  // namespace covey
