// NamedBlocks: which blocks the rows of a partition name, as this replica has them: heads and parts
// of open uploads, and the manifests of longer bodies. Only blocks that are at home in the
// partition: what a copy uses of another one is that one's care.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/core/ids.h"
#include "base/core/result.h"
#include "store/block/blocks.h"
#include "store/meta/kv.h"

namespace covey {

class NamedBlocks {
 public:
  NamedBlocks(Kv& kv, PartitionId partition) : kv_(kv), partition_(partition) {}

  struct Named {
    BlockId id;
    uint64_t bytes = 0;  // at most
  };
  // What the next rows name, a bounded number of them, perhaps nothing; done() says when no row is
  // left. A block may come more than once. Errors: kCorrupt, kIo.
  Result<std::vector<Named>> next();
  bool done() const { return table_ == kTables; }

 private:
  static constexpr size_t kTables = 5;

  Kv& kv_;
  PartitionId partition_;
  size_t table_ = 0;
  std::string after_;  // the last key looked at in that table
};

}  // namespace covey
