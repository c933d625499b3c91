// What gossip knows of a node.
#pragma once

#include <cstdint>
#include <string>

#include "base/async/clock.h"
#include "base/async/net.h"
#include "base/core/ids.h"

namespace covey {

enum class MemberState : uint8_t { kAlive = 0, kSuspect = 1, kDead = 2, kLeft = 3 };
inline const char* state_name(MemberState state) {
  constexpr const char* kNames[] = {"alive", "suspect", "dead", "left"};
  return kNames[static_cast<uint8_t>(state) & 3];
}

// What a node says of itself. An unspecified host (empty, 0.0.0.0, ::) means: where its datagrams
// come from.
struct MemberMeta {
  std::string name;
  std::string zone;
  std::string version;
  Address gossip;
  Address rpc;
  Address s3;
  uint64_t capacity_bytes = 0;
  uint64_t free_bytes = 0;
  ClusterId cluster;           // zero: has not joined one
  uint32_t layout_epoch = 0;   // the adopted one
  uint64_t layout_digest = 0;  // of the adopted state's bytes
  bool operator==(const MemberMeta&) const = default;
};

// A claim about one node. For one node the higher (incarnation, state) wins; only the node itself
// raises its incarnation.
struct MemberUpdate {
  NodeId id;
  uint64_t incarnation = 0;
  MemberState state = MemberState::kAlive;
  NodeId accuser;  // who suspects it; zero otherwise
  MemberMeta meta;
};

// As others see it. last_seen is this node's monotonic clock; rtt 0: never measured.
struct MemberView {
  NodeId id;
  MemberState state = MemberState::kAlive;
  TimePoint last_seen;
  Duration rtt{0};
  uint64_t incarnation = 0;
  MemberMeta meta;
};

}  // namespace covey
