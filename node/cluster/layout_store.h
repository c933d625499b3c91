// What a node keeps of the layout, durably: the state it has adopted and its vote on the next one.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "gossip/ring/layout.h"
#include "store/meta/kv.h"

namespace covey {

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
// Durable when complete. Storing a state voids the vote.
Task<Status> store_layout(Kv& kv, LayoutState state);
Task<Status> store_vote(Kv& kv, LayoutVote vote);

// No register row is stored here. Errors: kCorrupt, kIo.
Result<bool> registers_empty(Kv& kv);
// Drops every register row: a replica that was not a member starts empty.
Task<Status> purge_registers(Kv& kv);

}  // namespace covey
