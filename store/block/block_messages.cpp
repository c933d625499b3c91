#include "store/block/block_messages.h"

#include "base/core/codec.h"
#include "base/core/limits.h"

namespace covey {
namespace {

void write_id(Writer& w, const BlockId& id) {
  w.raw(id.version.view());
  w.u32(id.index);
}

BlockId read_id(Reader& r) {
  BlockId id;
  id.version = VersionId::from_bytes(r.raw(VersionId::kSize)).value_or(VersionId{});
  id.index = r.u32();
  return id;
}

}  // namespace

std::string encode_block_message(const BlockMessage& m) {
  std::string bytes;
  Writer w(bytes);
  w.u8(static_cast<uint8_t>(m.kind));
  w.u32(m.home);
  write_id(w, m.id);
  switch (m.kind) {
    case BlockMessageKind::kPut:
    case BlockMessageKind::kFetch:
      w.raw(m.owner.bucket.view());
      w.u32(m.owner.part);
      w.u32(m.crc);
      w.bytes(m.owner.key);
      break;
    case BlockMessageKind::kGet:
      w.u32(m.offset);
      w.u32(m.size);
      break;
    case BlockMessageKind::kHas:
    case BlockMessageKind::kRefused:
    case BlockMessageKind::kSettled:
      w.varint(m.ids.size());
      for (const BlockId& id : m.ids) write_id(w, id);
      w.u32(m.epoch);
      break;
    case BlockMessageKind::kList:
      w.u8(m.after ? 1 : 0);
      write_id(w, m.after.value_or(BlockId{}));
      w.u32(m.limit);
      w.u32(m.epoch);
      break;
  }
  return bytes;
}

Result<BlockMessage> decode_block_message(std::string_view bytes) {
  Reader r(bytes);
  BlockMessage m;
  m.kind = static_cast<BlockMessageKind>(r.u8());
  m.home = r.u32();
  m.id = read_id(r);
  switch (m.kind) {
    case BlockMessageKind::kPut:
    case BlockMessageKind::kFetch:
      m.owner.bucket = BucketId::from_bytes(r.raw(BucketId::kSize)).value_or(BucketId{});
      m.owner.part = r.u32();
      m.crc = r.u32();
      m.owner.key = std::string(r.bytes());
      break;
    case BlockMessageKind::kGet:
      m.offset = r.u32();
      m.size = r.u32();
      break;
    case BlockMessageKind::kHas:
    case BlockMessageKind::kRefused:
    case BlockMessageKind::kSettled: {
      uint64_t count = r.varint();
      if (count > kBlockIdsMax) return fail(ErrorCode::kInvalid, "too many blocks in one message");
      for (uint64_t i = 0; i < count && r.ok(); ++i) m.ids.push_back(read_id(r));
      m.epoch = r.u32();
      break;
    }
    case BlockMessageKind::kList: {
      bool after = r.u8() == 1;
      BlockId id = read_id(r);
      if (after) m.after = id;
      m.limit = r.u32();
      m.epoch = r.u32();
      break;
    }
    default: return fail(ErrorCode::kInvalid, "an unknown block message: upgrade this node");
  }
  if (!r.done() || m.owner.key.size() > kObjectKeyBytesMax)
    return fail(ErrorCode::kInvalid, "a block message does not decode");
  return m;
}

std::string encode_block_list(const BlockList& list) {
  std::string bytes;
  Writer w(bytes);
  w.u8(list.more ? 1 : 0);
  w.varint(list.items.size());
  for (const BlockList::Item& item : list.items) {
    write_id(w, item.id);
    w.u32(item.bytes);
  }
  return bytes;
}

Result<BlockList> decode_block_list(std::string_view bytes) {
  Reader r(bytes);
  BlockList list;
  list.more = r.u8() == 1;
  uint64_t count = r.varint();
  if (count > kBlockIdsMax) return fail(ErrorCode::kInvalid, "too many blocks in one list");
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    BlockId id = read_id(r);
    uint32_t size = r.u32();
    list.items.push_back({id, size});
  }
  if (!r.done()) return fail(ErrorCode::kInvalid, "a list of blocks does not decode");
  return list;
}

}  // namespace covey
