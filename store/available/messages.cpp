#include "store/available/messages.h"

#include "base/core/codec.h"
#include "base/core/limits.h"

namespace covey {
namespace {

constexpr uint8_t kFormat = 1;
constexpr size_t kAttachmentsMax = 4096;
constexpr size_t kItemsMax = 65536;

}  // namespace

std::string encode_available_request(const AvailableRequest& q) {
  std::string bytes;
  Writer w(bytes);
  w.u8(kFormat);
  w.u8(static_cast<uint8_t>(q.verb));
  w.u8(static_cast<uint8_t>(q.key.table));
  w.u32(q.key.partition);
  w.bytes(q.key.key);
  w.bytes(q.row);
  w.varint(q.attachments.size());
  for (const Attachment& one : q.attachments) {
    w.raw(one.owner.view());
    w.bytes(one.suffix);
    w.bytes(one.value);
  }
  w.bytes(q.end);
  w.varint(q.limit);
  w.raw(q.bucket.view());
  w.bytes(q.body);
  w.u32(q.budget_ms);
  w.raw(q.operation.view());
  return bytes;
}

Result<AvailableRequest> decode_available_request(std::string_view bytes) {
  auto bad = [] { return fail(ErrorCode::kInvalid, "a request does not decode"); };
  Reader r(bytes);
  if (r.u8() != kFormat) return bad();
  AvailableRequest q;
  q.verb = static_cast<AvailableVerb>(r.u8());
  q.key.table = static_cast<TableId>(r.u8());
  q.key.partition = r.u32();
  q.key.key = r.bytes();
  q.row = r.bytes();
  uint64_t count = r.varint();
  if (count > kAttachmentsMax) return bad();
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    Attachment one;
    auto owner = VersionId::from_bytes(r.raw(VersionId::kSize));
    if (!owner) return bad();
    one.owner = *owner;
    one.suffix = r.bytes();
    one.value = r.bytes();
    q.attachments.push_back(std::move(one));
  }
  q.end = r.bytes();
  q.limit = r.varint();
  auto bucket = BucketId::from_bytes(r.raw(BucketId::kSize));
  if (!bucket) return bad();
  q.bucket = *bucket;
  q.body = r.bytes();
  q.budget_ms = r.u32();
  auto operation = OperationId::from_bytes(r.raw(OperationId::kSize));
  if (!operation) return bad();
  q.operation = *operation;
  if (!r.done() || q.key.key.size() > kKvKeyBytesMax) return bad();
  return q;
}

std::string encode_available_reply(const AvailableReply& reply) {
  std::string bytes;
  Writer w(bytes);
  w.u8(kFormat);
  w.u8(static_cast<uint8_t>((reply.replica ? 1 : 0) | (reply.cut ? 2 : 0) | (reply.text ? 4 : 0) |
                            (reply.live ? 8 : 0)));
  w.varint(reply.items.size());
  for (const AvailableItem& item : reply.items) w.bytes(item.key), w.bytes(item.row);
  if (reply.text) w.bytes(*reply.text);
  return bytes;
}

Result<AvailableReply> decode_available_reply(std::string_view bytes) {
  auto bad = [] { return fail(ErrorCode::kInvalid, "an answer does not decode"); };
  Reader r(bytes);
  if (r.u8() != kFormat) return bad();
  AvailableReply reply;
  uint8_t flags = r.u8();
  reply.replica = (flags & 1) != 0, reply.cut = (flags & 2) != 0, reply.live = (flags & 8) != 0;
  uint64_t count = r.varint();
  if (count > kItemsMax) return bad();
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    AvailableItem item;
    item.key = r.bytes();
    item.row = r.bytes();
    reply.items.push_back(std::move(item));
  }
  if ((flags & 4) != 0) reply.text = std::string(r.bytes());
  if (!r.done()) return bad();
  return reply;
}

}  // namespace covey
