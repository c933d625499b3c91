// The first byte of every key in the metadata store says which table it belongs to. Numbers are
// fixed for ever; docs/formats/metadata.md describes each.
#pragma once

#include <cstdint>
#include <string>

namespace covey {

enum class TableId : uint8_t {
  // Registers (store/register): [table][partition u16 BE][register key].
  kHeads = 0x10,      // bucket id, shard u16 BE, object key -> HeadRow
  kUploads = 0x11,    // bucket id, shard u16 BE, object key, 0x00, upload id -> UploadRow
  kParts = 0x12,      // upload id, part number u32 BE -> PartRow
  kBuckets = 0x13,    // bucket name -> BucketRow
  kBlockRefs = 0x14,  // source version id, destination version id -> claim_row
  // Likewise of available buckets (store/available): the same keys, rows that are joined.
  kAvailableHeads = 0x15,
  kAvailableUploads = 0x16,
  kAvailableParts = 0x17,
  // Beside registers.
  kAttachments = 0x20,  // [table][partition u16 BE][owner version id 16][suffix] -> immutable row
  kPartitions = 0x21,   // [table][partition u16 BE] -> promised ballot, floor
  kFences =
      0x22,  // [table][partition u16 BE][bucket id] -> generation below which requests are refused
  kGarbage = 0x23,    // store/objects: what displaced rows referred to
  kActors = 0x24,     // store/available: [table][partition u16 BE] -> who this node is in its rows
  kHints = 0x25,      // store/available: [table][partition u16 BE][table][key] -> rows of others
  kSeals = 0x26,      // store/available: [table][bucket id] -> the bucket takes no more writes
  kConflicts = 0x27,  // store/available: [table][number u64 BE] -> ConflictEvent
  // Local.
  kControl = 0x30,     // control tables (store/table): [table][table name NUL][key]
  kBlockIndex = 0x40,  // store/block: home u16 BE, version id, index u32 BE -> location
  kBlockDebts = 0x41,  // store/block: likewise: copies owed
  kSegments = 0x42,    // store/block: per-segment state
  kRefused =
      0x43,  // store/block: version ids whose blocks were reclaimed and may never be named again
  kBlockRepairs = 0x44,  // store/block: as kBlockDebts: blocks that this node lacks and looks for
  kNode =
      0x50,  // this node's own: boot epoch, adopted layout, what it remembers of peers' sequences
};

// The keys of a table: from the first on, up to but not the second.
inline std::string table_begin(TableId table) { return std::string(1, static_cast<char>(table)); }
inline std::string table_end(TableId table) {
  return std::string(1, static_cast<char>(static_cast<uint8_t>(table) + 1));
}

}  // namespace covey
