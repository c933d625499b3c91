// What nodes say to each other about blocks (PeerService::kBlock). The first byte is the kind;
// integers are little-endian.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "store/block/blocks.h"

namespace covey {

enum class BlockMessageKind : uint8_t {
  kPut = 1,      // id, owner, CRC-32C of the body; body: the block. Reply: empty
  kGet = 2,      // id, offset, size. Reply: CRC-32C of the body; body: the bytes
  kHas = 3,      // ids. Reply: one byte for each, '1': here, or its version refused
  kFetch = 4,    // id. Reply: as kPut, body: the whole block
  kSettled = 5,  // ids: every replica under layout epoch `epoch` has them. No reply
  kList = 6,  // `after` or from the start, limit, epoch. Reply: a BlockList. kStale: the node has
              // not adopted that epoch
  kRefused = 7,  // ids. Reply: one byte for each, '1': its version is refused for good, not only
                 // until a judge says more
};

struct BlockMessage {
  BlockMessageKind kind = BlockMessageKind::kHas;
  PartitionId home = 0;
  BlockId id;
  BlockOwner owner;
  uint32_t crc = 0;
  uint32_t offset = 0, size = 0;
  std::vector<BlockId> ids;
  std::optional<BlockId> after;
  uint32_t limit = 0, epoch = 0;
};

inline constexpr size_t kBlockIdsMax = 4096;  // in one message

// Blocks of one partition that a node has, in order, as far as the limit of the request allows.
struct BlockList {
  struct Item {
    BlockId id;
    uint32_t bytes = 0;
  };
  std::vector<Item> items;
  bool more = false;
};
std::string encode_block_list(const BlockList& list);
Result<BlockList> decode_block_list(std::string_view bytes);  // kInvalid

std::string encode_block_message(const BlockMessage& message);
Result<BlockMessage> decode_block_message(std::string_view bytes);  // kInvalid

}  // namespace covey
