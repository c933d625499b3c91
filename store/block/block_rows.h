// The keys of rows about one block (the index, debts, repairs): u8 table | u16 home | version |
// u32 index, big-endian, so that the rows of one home stand together (docs/formats/segment.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/block/blocks.h"
#include "store/meta/keyspace.h"

namespace covey {

std::string block_row_prefix(TableId table, PartitionId home);
std::string block_row_key(TableId table, const BlockKey& block);
// nullopt: no such key (that of another table has the same shape).
std::optional<BlockKey> decode_block_row_key(std::string_view key);

}  // namespace covey
