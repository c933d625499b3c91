#include "store/block/block_messages.h"

#include "base/core/codec.h"
#include "base/core/limits.h"

namespace covey {
namespace {

constexpr size_t kIdsMax = 4096;

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
  write_id(w, m.id);
  switch (m.kind) {
    case BlockMessageKind::kPut:
    case BlockMessageKind::kFetch:
      w.u32(m.home);
      w.raw(m.owner.bucket.view());
      w.u32(m.owner.part);
      w.u32(m.crc);
      w.bytes(m.owner.key);
      break;
    case BlockMessageKind::kGet:
      w.u32(m.offset);
      w.u32(m.size);
      break;
    case BlockMessageKind::kHas: break;
    case BlockMessageKind::kSettled:
      w.varint(m.ids.size());
      for (const BlockId& id : m.ids) write_id(w, id);
      break;
  }
  return bytes;
}

Result<BlockMessage> decode_block_message(std::string_view bytes) {
  Reader r(bytes);
  BlockMessage m;
  m.kind = static_cast<BlockMessageKind>(r.u8());
  m.id = read_id(r);
  switch (m.kind) {
    case BlockMessageKind::kPut:
    case BlockMessageKind::kFetch:
      m.home = r.u32();
      m.owner.bucket = BucketId::from_bytes(r.raw(BucketId::kSize)).value_or(BucketId{});
      m.owner.part = r.u32();
      m.crc = r.u32();
      m.owner.key = std::string(r.bytes());
      break;
    case BlockMessageKind::kGet:
      m.offset = r.u32();
      m.size = r.u32();
      break;
    case BlockMessageKind::kHas: break;
    case BlockMessageKind::kSettled: {
      uint64_t count = r.varint();
      if (count > kIdsMax) return fail(ErrorCode::kInvalid, "too many blocks in one message");
      for (uint64_t i = 0; i < count && r.ok(); ++i) m.ids.push_back(read_id(r));
      break;
    }
    default: return fail(ErrorCode::kInvalid, "an unknown block message: upgrade this node");
  }
  if (!r.done() || m.owner.key.size() > kObjectKeyBytesMax)
    return fail(ErrorCode::kInvalid, "a block message does not decode");
  return m;
}

}  // namespace covey
