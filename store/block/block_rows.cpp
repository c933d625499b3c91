#include "store/block/block_rows.h"

#include "base/core/codec.h"

namespace covey {

std::string block_row_prefix(TableId table, PartitionId home) {
  std::string key(1, static_cast<char>(table));
  Writer(key).u16_be(static_cast<uint16_t>(home));
  return key;
}

std::string block_row_key(TableId table, const BlockKey& block) {
  std::string key = block_row_prefix(table, block.home);
  key.append(block.id.version.view());
  Writer(key).u32_be(block.id.index);
  return key;
}

std::optional<BlockKey> decode_block_row_key(std::string_view key) {
  Reader r(key);
  r.u8();
  BlockKey block;
  block.home = r.u16_be();
  auto version = VersionId::from_bytes(r.raw(VersionId::kSize));
  block.id.index = r.u32_be();
  if (!r.done() || !version) return std::nullopt;
  block.id.version = *version;
  return block;
}

}  // namespace covey
