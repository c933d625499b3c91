// What `covey status` says: one sentence on the cluster, and what to do next. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/async/clock.h"
#include "gossip/ring/layout.h"

namespace covey {

// One node as this one knows it, from gossip and from its own answer.
struct NodeView {
  NodeId id;
  std::string name, zone, address, version;
  std::string state;  // "alive", "suspect", "dead" or "left"
  Duration since_seen{};
  uint64_t capacity_bytes = 0, used_bytes = 0, free_bytes = 0;
  uint64_t copies_owed = 0, quarantined = 0, to_repair = 0;
  uint64_t partitions_behind = 0, rows_behind = 0;  // of its metadata, since it was away
  std::string behind_because;  // why it did not catch up when it last tried; empty: it did not fail
  uint64_t leaving = 0;        // partitions it no longer keeps and has not handed over yet
  bool member = false;         // holds data by the current layout
  // "member", "joins" or "leaves" (with the change under way), "out" (taken out), "waits"
  std::string role = "waits";
  bool silent = false;  // it did not answer this node just now, whatever gossip still says of it
  bool reachable() const { return state == "alive" || state == "suspect"; }
};

struct Health {
  bool healthy = false;
  std::string summary;                // "healthy: any one of 3 nodes may fail"
  std::vector<std::string> problems;  // one line each
  std::vector<std::string> next;      // what to do, as commands to paste with a few words before
};

// `layout` may be null while the node has not adopted one.
Health judge_health(const LayoutState* layout, const std::vector<NodeView>& nodes);

}  // namespace covey
