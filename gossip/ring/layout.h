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
  bool operator==(const Layout&) const = default;

  uint32_t partitions() const { return static_cast<uint32_t>(assignment.size()); }
  // In ring order: requests for a partition are routed to the first live one.
  std::vector<NodeId> replicas(PartitionId partition) const;
  const Member* find(const NodeId& id) const;
};

// What the layout register holds. While `next` is set the cluster is joint: writes need a quorum in
// both.
struct LayoutState {
  ClusterId cluster;
  uint32_t epoch = 0;  // rises at old -> joint and at joint -> new; part of every ballot
  Layout current;
  std::optional<Layout> next;
  bool operator==(const LayoutState&) const = default;

  bool joint() const { return next.has_value(); }
};

// The sets a partition's operations need a quorum in: one, or two while joint.
struct ReplicaSets {
  std::vector<NodeId> current;
  std::vector<NodeId> next;  // empty unless joint
  // Every replica of either set, current first, each once.
  std::vector<NodeId> all() const;
  // `yes` holds a majority of current and, while joint, of next.
  bool quorum(const std::vector<NodeId>& yes) const;
};
ReplicaSets replica_sets(const LayoutState& state, PartitionId partition);

// Assigns `partitions` partitions to `members`, spread over as many zones as the copies allow,
// weighted by capacity (error <= 5 % of ideal) and moving no more than 1.1 x the minimum from
// `previous` (nullptr: none). Errors: kInvalid (no members, duplicate id or name, zero capacity,
// more than kNodesMax members).
Result<Layout> assign_layout(const Layout* previous, std::vector<Member> members,
                             uint32_t partitions);

std::string encode_layout_state(const LayoutState& state);
Result<LayoutState> decode_layout_state(std::string_view bytes);

}  // namespace covey
