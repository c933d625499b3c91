// What nodes say to each other about blocks (PeerService::kBlock). The first byte is the kind;
// integers are little-endian.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "store/block/blocks.h"

namespace covey {

enum class BlockMessageKind : uint8_t {
  kPut = 1,      // id, home, owner, CRC-32C of the body; body: the block. Reply: empty
  kGet = 2,      // id, offset, size. Reply: CRC-32C of the body; body: the bytes
  kHas = 3,      // id. Reply: one byte
  kFetch = 4,    // id. Reply: as kPut, body: the whole block
  kSettled = 5,  // ids: every replica has them. No reply
};

struct BlockMessage {
  BlockMessageKind kind = BlockMessageKind::kHas;
  BlockId id;
  PartitionId home = 0;
  BlockOwner owner;
  uint32_t crc = 0;
  uint32_t offset = 0, size = 0;
  std::vector<BlockId> ids;
};

std::string encode_block_message(const BlockMessage& message);
Result<BlockMessage> decode_block_message(std::string_view bytes);  // kInvalid

}  // namespace covey
