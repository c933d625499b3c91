#include "store/block/segment_format.h"

#include "base/core/codec.h"
#include "base/core/crc32c.h"
#include "base/core/limits.h"
#include "base/core/round.h"

namespace covey {
namespace {

constexpr std::string_view kSegmentMagic("CVSEG\1\0\0", 8);
constexpr uint32_t kRecordMagic = 0x6b6c4243;  // "CBlk"

}  // namespace

uint64_t RecordHead::end_of(uint64_t start) const {
  return round_up(start + head_bytes() + payload_bytes, kRecordAlign);
}

std::string encode_segment_header(uint64_t segment) {
  std::string bytes;
  Writer w(bytes);
  w.raw(kSegmentMagic);
  w.u32(kSegmentFormat);
  w.u32(0);
  w.u64(segment);
  bytes.resize(kSegmentHeaderBytes - 4, '\0');
  Writer(bytes).u32(crc32c(bytes));
  return bytes;
}

Result<uint64_t> decode_segment_header(std::string_view bytes) {
  if (bytes.size() < kSegmentHeaderBytes || bytes.substr(0, 8) != kSegmentMagic) {
    return fail(ErrorCode::kCorrupt, "not a segment file");
  }
  bytes = bytes.substr(0, kSegmentHeaderBytes);
  Reader crc(bytes.substr(kSegmentHeaderBytes - 4));
  if (crc.u32() != crc32c(bytes.substr(0, kSegmentHeaderBytes - 4))) {
    return fail(ErrorCode::kCorrupt, "a segment's header has a wrong checksum");
  }
  Reader r(bytes.substr(8));
  uint32_t format = r.u32();
  if (format != kSegmentFormat) {
    return fail(ErrorCode::kInvalid,
                "a segment of another format: it was written by another version of Covey");
  }
  r.u32();
  return r.u64();
}

RecordHead make_record(uint64_t segment, BlockId id, BlockOwner owner, PartitionId home,
                       std::string_view payload) {
  RecordHead head;
  head.segment = segment;
  head.id = id;
  head.owner = std::move(owner);
  head.home = home;
  head.payload_bytes = static_cast<uint32_t>(payload.size());
  for (size_t at = 0; at < payload.size(); at += kChunkBytes) {
    head.chunk_crcs.push_back(crc32c(payload.substr(at, kChunkBytes)));
  }
  return head;
}

std::string encode_record_head(const RecordHead& head) {
  std::string bytes;
  bytes.reserve(head.head_bytes());
  Writer w(bytes);
  w.u32(kRecordMagic);
  w.u32(head.payload_bytes);
  w.u64(head.segment);
  w.raw(head.id.version.view());
  w.u32(head.id.index);
  w.u32(head.home);
  w.raw(head.owner.bucket.view());
  w.u32(head.owner.part);
  w.u16(static_cast<uint16_t>(head.owner.key.size()));
  bytes.resize(kRecordFixedBytes, '\0');
  w.raw(head.owner.key);
  for (uint32_t crc : head.chunk_crcs) w.u32(crc);
  w.u32(crc32c(bytes));
  return bytes;
}

std::optional<RecordHead> decode_record_head(std::string_view bytes, uint64_t segment) {
  if (bytes.size() < kRecordFixedBytes + 4) return std::nullopt;
  Reader r(bytes);
  RecordHead head;
  if (r.u32() != kRecordMagic) return std::nullopt;
  head.payload_bytes = r.u32();
  head.segment = r.u64();
  if (head.segment != segment || head.payload_bytes > kBlockBytesMax) return std::nullopt;
  head.id.version = *VersionId::from_bytes(r.raw(VersionId::kSize));
  head.id.index = r.u32();
  head.home = r.u32();
  head.owner.bucket = *BucketId::from_bytes(r.raw(BucketId::kSize));
  head.owner.part = r.u32();
  size_t key_bytes = r.u16();
  size_t whole = kRecordFixedBytes + key_bytes + 4 * head.chunks() + 4;
  if (key_bytes > kObjectKeyBytesMax || whole > bytes.size()) return std::nullopt;
  head.owner.key = std::string(bytes.substr(kRecordFixedBytes, key_bytes));
  Reader crcs(bytes.substr(kRecordFixedBytes + key_bytes, 4 * head.chunks() + 4));
  for (size_t i = 0; i < head.chunks(); ++i) head.chunk_crcs.push_back(crcs.u32());
  if (crcs.u32() != crc32c(bytes.substr(0, whole - 4))) return std::nullopt;
  return head;
}

Status verify_chunks(const std::vector<uint32_t>& crcs, size_t first_chunk,
                     std::string_view chunks) {
  for (size_t at = 0, i = first_chunk; at < chunks.size(); at += kChunkBytes, ++i) {
    if (i >= crcs.size() || crc32c(chunks.substr(at, kChunkBytes)) != crcs[i]) {
      return fail(ErrorCode::kCorrupt, "a block's checksum differs");
    }
  }
  return {};
}

}  // namespace covey
