// What a segment file looks like; docs/formats/segment.md is the same in prose.
//
//   file header, 64 bytes: magic "CVSEG\1\0\0", format u32, zero u32, segment id u64, zeros,
//   CRC-32C u32 of the 60 bytes before records, each starting at a multiple of 64:
//     fixed part (88 bytes) | key | CRC-32C of each 64 KiB of the payload | CRC-32C of all before |
//     payload
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/blob.h"
#include "base/core/limits.h"
#include "base/core/result.h"
#include "store/block/blocks.h"

namespace covey {

inline constexpr uint32_t kSegmentFormat = 1;
inline constexpr size_t kSegmentHeaderBytes = 64;
inline constexpr size_t kRecordAlign = 64;
inline constexpr size_t kRecordFixedBytes = 88;
inline constexpr size_t kChunkBytes = 64 * 1024;  // of payload under one checksum
// Fixed part, the longest key, checksums of the largest block, the last checksum.
inline constexpr size_t kRecordHeadBytesMax =
    kRecordFixedBytes + 1024 + 4 * (kBlockBytesMax / kChunkBytes) + 4;

struct RecordHead {
  uint64_t segment = 0;
  BlockId id;
  BlockOwner owner;
  PartitionId home = 0;
  uint32_t payload_bytes = 0;
  std::vector<uint32_t> chunk_crcs;

  size_t head_bytes() const {
    return kRecordFixedBytes + owner.key.size() + 4 * chunk_crcs.size() + 4;
  }
  size_t chunks() const { return (payload_bytes + kChunkBytes - 1) / kChunkBytes; }
  uint64_t end_of(uint64_t start) const;  // where the next record may start
};

std::string encode_segment_header(uint64_t segment);
// The segment's id. kCorrupt, kInvalid (a format this binary does not know).
Result<uint64_t> decode_segment_header(std::string_view bytes);

// Computes the checksums of `payload`.
RecordHead make_record(uint64_t segment, BlockId id, BlockOwner owner, PartitionId home,
                       std::string_view payload);
std::string encode_record_head(const RecordHead& head);
// From the bytes at a record's start, at least its head. nullopt: no record of `segment` starts
// here.
std::optional<RecordHead> decode_record_head(std::string_view bytes, uint64_t segment);

// Bytes [offset, offset + size) of the payload out of `chunks`, which are whole chunks from number
// `first_chunk` on. kCorrupt when a checksum differs.
Status verify_chunks(const std::vector<uint32_t>& crcs, size_t first_chunk,
                     std::string_view chunks);

}  // namespace covey
