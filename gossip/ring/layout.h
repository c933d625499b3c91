// The layout: which nodes hold which partition. A pure value; every node computes the same one from
// the same input. Source of the balancing goals: Garage's layout algorithm (arXiv 2302.13798);
// joint change: Raft's joint consensus.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/ids.h"
#include "base/core/limits.h"
#include "base/core/result.h"

namespace covey {

struct Member {
  NodeId id;
  std::string name;  // the operator's name for the box; unique in a layout
  std::string zone;
  uint64_t capacity_bytes = 0;
  bool operator==(const Member&) const = default;
};

// One complete assignment. Immutable once made.
struct Layout {
  uint64_t version = 0;
  uint32_t copies = 0;                            // min(kCopiesMax, members)
  std::vector<Member> members;                    // sorted by id
  std::vector<std::vector<uint16_t>> assignment;  // partition -> ordered indices into members
  // Beside each index of `assignment`: the epoch at which that replica's tenure began (0: at
  // bootstrap). A node that left and came back has another tenure, so one that slept through both
  // knows that what it holds is of the past.
  std::vector<std::vector<uint32_t>> since;
  bool operator==(const Layout&) const = default;

  uint32_t partitions() const { return static_cast<uint32_t>(assignment.size()); }
  // In ring order: requests for a partition are routed to the first live one.
  std::vector<NodeId> replicas(PartitionId partition) const;
  const Member* find(const NodeId& id) const;
  // Since when `node` is a replica; nullopt: it is none.
  std::optional<uint32_t> tenure(PartitionId partition, const NodeId& node) const;
};

// What the layout register holds. While `next` is set the cluster is joint: writes need a quorum in
// both.
inline constexpr size_t kDepartedMax = 64;
struct LayoutState {
  ClusterId cluster;
  uint32_t epoch = 0;  // rises at old -> joint and at joint -> new; part of every ballot
  Layout current;
  std::optional<Layout> next;
  // Nodes that an operator took out or that were replaced, newest last: they do not join again by
  // themselves.
  std::vector<NodeId> departed;
  bool operator==(const LayoutState&) const = default;

  bool joint() const { return next.has_value(); }
  bool has_departed(const NodeId& node) const;
  // Another node takes its place under its name: it comes back as that one, if at all
  // (docs/adr/0007-replacement.md).
  bool replaced(const NodeId& node) const;
  // Since when `node` is a replica, in either layout; nullopt: it is none.
  std::optional<uint32_t> tenure(PartitionId partition, const NodeId& node) const;
};

// The sets a partition's operations need a quorum in: one, or two while joint.
struct ReplicaSets {
  std::vector<NodeId> current;
  std::vector<NodeId> next;  // empty unless joint
  // Every replica of either set, current first, each once.
  std::vector<NodeId> all() const;
  // `yes` holds a majority of current and, while joint, of next.
  bool quorum(const std::vector<NodeId>& yes) const;
  // Joint, and not of the same nodes: data has to move.
  bool changes() const;
};
// `yes` holds more than half of `set`.
bool is_majority(const std::vector<NodeId>& set, const std::vector<NodeId>& yes);
bool has_node(const std::vector<NodeId>& nodes, const NodeId& node);
ReplicaSets replica_sets(const LayoutState& state, PartitionId partition);

// Assigns `partitions` partitions to `members`, spread over as many zones as the copies allow,
// weighted by capacity (error <= 5 % of ideal) and moving no more than 1.1 x the minimum from
// `previous` (nullptr: none). Replicas that are new get the tenure `epoch`: that of the joint
// state. Errors: kInvalid (no members, duplicate id or name, zero capacity, more than kNodesMax
// members).
Result<Layout> assign_layout(const Layout* previous, std::vector<Member> members,
                             uint32_t partitions, uint32_t epoch = 0);

std::string encode_layout_state(const LayoutState& state);
Result<LayoutState> decode_layout_state(std::string_view bytes);

}  // namespace covey
