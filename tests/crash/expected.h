// Expected: what a load did and when, so that it is known what must, may and must not be there
// after a crash at any point. Times are positions in the record of disk operations.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "store/block/blocks.h"

namespace covey {

using At = size_t;
inline constexpr At kNever = SIZE_MAX;

// One write or erasure of a row. It may be there when begun before the crash, it must be when
// acknowledged before it.
struct RowWrite {
  uint64_t stamp = 0;  // 0: erased
  At begun = 0, acknowledged = kNever;
  std::vector<BlockKey> blocks;
};

struct BlockLife {
  uint32_t size = 0;
  At put_acknowledged = kNever;
  At drop_begun = kNever, drop_acknowledged = kNever;
};

struct Expected {
  std::map<std::string, std::vector<RowWrite>> rows;
  std::map<BlockKey, BlockLife> blocks;
  std::vector<std::pair<At, uint64_t>> sequences;  // when the store said that so much was durable
  uint64_t last_stamp = 0;

  // What there was to know at that time, as seen from time 0 of a new record.
  Expected as_of(At crash) const;
};

// Every row is written together with a twin; both or neither are there.
std::string row_key(const std::string& name);
std::string twin_key(const std::string& name);
// The row of a debt, written with a block.
std::string debt_key(const BlockKey& block);
std::string row_value(const std::string& name, const RowWrite& write);
uint64_t stamp_of(std::string_view value);
std::string block_bytes(const BlockKey& block, uint32_t size);

}  // namespace covey
