// ReadTimes: after which time a node's answer to a read is late, so that the next one is asked
// ("The Tail at Scale", CACM 2013). What is late follows from what the node's answers take: over a
// link that is slow for everything a second answer would only make it slower. Mean and deviation
// are smoothed as for TCP's retransmission timer (Jacobson, "Congestion Avoidance and Control",
// SIGCOMM 1988; RFC 6298). Pure.
#pragma once

#include <algorithm>
#include <array>
#include <map>

#include "base/async/clock.h"
#include "base/core/ids.h"
#include "base/core/limits.h"

namespace covey {

class ReadTimes {
 public:
  static constexpr size_t kNodesMax = 256;

  // A read of so many bytes was answered after `took`.
  void answered(const NodeId& node, size_t bytes, Duration took) {
    if (nodes_.size() >= kNodesMax && !nodes_.contains(node)) nodes_.clear();
    Estimate& of = nodes_[node][kind_of(bytes)];
    if (of.mean == Duration::zero()) {
      of.mean = took, of.deviation = took / 2;
      return;
    }
    Duration off = took > of.mean ? took - of.mean : of.mean - took;
    of.deviation = (3 * of.deviation + off) / 4;
    of.mean = (7 * of.mean + took) / 8;
  }
  // 0: it has not answered such a read yet.
  Duration late_after(const NodeId& node, size_t bytes) const {
    auto found = nodes_.find(node);
    if (found == nodes_.end()) return Duration::zero();
    const Estimate& of = found->second[kind_of(bytes)];
    return of.mean + 4 * of.deviation;
  }

 private:
  struct Estimate {
    Duration mean{0}, deviation{0};
  };
  // A link's bandwidth counts for large ones, its length for small ones.
  static size_t kind_of(size_t bytes) { return bytes > 64 * kKiB ? 1 : 0; }

  std::map<NodeId, std::array<Estimate, 2>> nodes_;
};

}  // namespace covey
