// What clients saw, by key, and what they were promised about fences.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "store/register/registers.h"
#include "tests/sim/linearize.h"

namespace covey {

inline constexpr PartitionId kSimPartitions = 2;
inline constexpr int kSimKeys = 3;

// "a/0" is alone in its folder, so that a listing that folds says whether it exists.
inline const char* sim_key(int index) {
  static constexpr const char* kNames[kSimKeys] = {"a/0", "b/0", "b/1"};
  return kNames[index];
}

struct History {
  std::map<std::pair<PartitionId, int>, std::vector<HistoryOp>> keys;
  // Of each partition's bucket: the highest generation whose fence was asked for, and the highest
  // whose fence is known to stand.
  uint64_t fence_asked[kSimPartitions] = {1, 1};
  uint64_t fence_stands[kSimPartitions] = {1, 1};
  uint64_t ok = 0, unknown = 0, failed = 0, refused = 0, stale = 0, pages = 0, layouts = 0,
           pulled = 0, collected = 0, forgot = 0;
};

}  // namespace covey
