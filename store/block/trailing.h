// What copies hold in memory after their writer went on without them: a majority had the block, and
// one more replica was still at it. A replica that hangs, or is slower than the others for long,
// must not make a writer's memory grow: beyond these limits it is left out, and gets its copies
// later, from those who owe them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>

#include "base/core/ids.h"
#include "base/core/limits.h"

namespace covey {

class TrailingCopies {
 public:
  static constexpr size_t kNodeBytesMax = 16 * kMiB;
  static constexpr size_t kAllBytesMax = 48 * kMiB;

  // A sixth of what bodies may hold for one node, half for all.
  void fit(size_t body_bytes) {
    node_max_ = std::min(kNodeBytesMax, body_bytes / 6);
    all_max_ = std::min(kAllBytesMax, body_bytes / 2);
  }

  // True: do not send more to the node than a majority needs.
  bool behind(const NodeId& node) const {
    auto found = bytes_.find(node);
    if (found == bytes_.end()) return false;
    return found->second >= node_max_ || all_bytes_ >= all_max_;
  }
  void add(const NodeId& node, size_t bytes) {
    bytes_[node] += bytes;
    all_bytes_ += bytes;
  }
  // REQUIRES: added before.
  void remove(const NodeId& node, size_t bytes) {
    auto found = bytes_.find(node);
    found->second -= bytes;
    all_bytes_ -= bytes;
    if (found->second == 0) bytes_.erase(found);
  }
  size_t bytes() const { return all_bytes_; }
  size_t limit() const { return all_max_; }

 private:
  std::map<NodeId, size_t> bytes_;
  size_t all_bytes_ = 0, node_max_ = kNodeBytesMax, all_max_ = kAllBytesMax;
};

}  // namespace covey
