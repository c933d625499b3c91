// Register keys and attachment suffixes of objects; docs/formats/metadata.md lists them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/core/ids.h"
#include "store/register/registers.h"

namespace covey {

// Everything of one index shard of one bucket starts with these 18 bytes: bucket id, shard u16 BE.
inline constexpr size_t kShardPrefixBytes = 18;
std::string shard_prefix(const BucketId& bucket, uint32_t shard);

// A bucket id with the numbers that place its keys.
struct KeySpace {
  BucketId bucket;
  uint32_t shards = 0;
  uint32_t partitions = 0;
  bool available = false;  // its rows stand in tables of their own
  TableId heads() const { return available ? TableId::kAvailableHeads : TableId::kHeads; }
  TableId uploads() const { return available ? TableId::kAvailableUploads : TableId::kUploads; }
  TableId parts() const { return available ? TableId::kAvailableParts : TableId::kParts; }
  // The shard and partition of an object key.
  uint32_t shard(std::string_view key) const;
  PartitionId partition(std::string_view key) const;
};

inline bool is_available(TableId table) {
  return table == TableId::kAvailableHeads || table == TableId::kAvailableUploads ||
         table == TableId::kAvailableParts;
}
inline bool is_heads(TableId table) {
  return table == TableId::kHeads || table == TableId::kAvailableHeads;
}

RegisterKey head_key(const KeySpace& space, std::string_view key);
// Object keys are escaped here (0x00 -> 0x00 0xff, end 0x00 0x01), so that uploads sort by key,
// then by id.
RegisterKey upload_key(const KeySpace& space, std::string_view key, const UploadId& upload);
std::string upload_prefix(std::string_view shard_prefix, std::string_view key_prefix);
// Parts live in the partition of the object's key.
RegisterKey part_key(const KeySpace& space, std::string_view key, const UploadId& upload,
                     uint32_t number);
RegisterKey bucket_key(std::string_view name, uint32_t partitions);
// A copy's claim on the data of `owner`, in the partition of the owner's head.
RegisterKey block_ref_key(PartitionId partition, const VersionId& owner, const VersionId& holder);

inline constexpr std::string_view kInlineSuffix = "b";
std::string manifest_suffix(uint32_t chunk);

// The first key after every key that starts with `prefix`; empty when there is none (all bytes
// 0xff).
std::string prefix_end(std::string prefix);

}  // namespace covey
