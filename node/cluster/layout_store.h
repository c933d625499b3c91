// What a node keeps of the layout, durably: the state it has adopted and its vote on the next one.
#pragma once

#include <compare>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "gossip/ring/layout.h"
#include "store/meta/kv.h"

namespace covey {

using PartitionSet = std::set<PartitionId>;

struct LayoutBallot {
  uint64_t counter = 0;
  NodeId node;
  auto operator<=>(const LayoutBallot&) const = default;
};

// One Paxos instance per epoch decides the state that follows it. Its voters are the members of the
// state of that epoch.
struct LayoutVote {
  uint32_t epoch = 0;  // of the adopted state this vote follows
  LayoutBallot promised;
  LayoutBallot accepted;
  std::string value;  // an encoded LayoutState; empty: nothing accepted
};

// Errors: kCorrupt.
Result<std::optional<LayoutState>> load_layout(Kv& kv);
// A vote of another epoch than `epoch` is void. Errors: kCorrupt.
Result<LayoutVote> load_vote(Kv& kv, uint32_t epoch);
// Durable when complete. Storing a state voids the vote. `leaving`: as below, stored with it.
Task<Status> store_layout(Kv& kv, LayoutState state, PartitionSet leaving);
Task<Status> store_vote(Kv& kv, LayoutVote vote);

// Partitions this node was a replica of and has not purged since.
Result<PartitionSet> load_leaving(Kv& kv);
Task<Status> store_leaving(Kv& kv, PartitionSet leaving);

// How far this node is with its part of the joint state of `epoch`: opaque bytes, empty if it has
// kept none for that epoch.
Result<std::string> load_progress(Kv& kv, uint32_t epoch);
Task<Status> store_progress(Kv& kv, uint32_t epoch, std::string bytes);

// No register row is stored here. Errors: kCorrupt, kIo.
Result<bool> registers_empty(Kv& kv);
// Nor anything else of what clients stored: no attachment, no block.
Result<bool> data_empty(Kv& kv);
// Drops every row of a partition that stands beside or in its registers.
Task<Status> drop_partition_rows(Kv& kv, PartitionId partition);

}  // namespace covey
