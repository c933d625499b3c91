#include "store/objects/keys.h"

#include "base/core/codec.h"

namespace covey {

std::string shard_prefix(const BucketId& bucket, uint32_t shard) {
  std::string prefix(bucket.view());
  Writer(prefix).u16_be(static_cast<uint16_t>(shard));
  return prefix;
}

uint32_t KeySpace::shard(std::string_view key) const { return shard_of_key(key, shards); }

PartitionId KeySpace::partition(std::string_view key) const {
  return shard_partition(bucket, shard(key), partitions);
}

RegisterKey head_key(const KeySpace& space, std::string_view key) {
  uint32_t shard = space.shard(key);
  std::string name = shard_prefix(space.bucket, shard);
  name.append(key);
  return {space.heads(), shard_partition(space.bucket, shard, space.partitions), std::move(name)};
}

std::string upload_prefix(std::string_view shard_prefix, std::string_view key_prefix) {
  std::string name(shard_prefix);
  for (char c : key_prefix) {
    name.push_back(c);
    if (c == '\0') name.push_back('\xff');
  }
  return name;
}

RegisterKey upload_key(const KeySpace& space, std::string_view key, const UploadId& upload) {
  uint32_t shard = space.shard(key);
  std::string name = upload_prefix(shard_prefix(space.bucket, shard), key);
  name.push_back('\0');
  name.push_back('\x01');
  name.append(upload.view());
  return {space.uploads(), shard_partition(space.bucket, shard, space.partitions), std::move(name)};
}

RegisterKey part_key(const KeySpace& space, std::string_view key, const UploadId& upload,
                     uint32_t number) {
  std::string name(upload.view());
  Writer(name).u32_be(number);
  return {space.parts(), space.partition(key), std::move(name)};
}

RegisterKey bucket_key(std::string_view name, uint32_t partitions) {
  return {TableId::kBuckets, buckets_partition(partitions), std::string(name)};
}

RegisterKey block_ref_key(PartitionId partition, const VersionId& owner, const VersionId& holder) {
  std::string name(owner.view());
  name.append(holder.view());
  return {TableId::kBlockRefs, partition, std::move(name)};
}

std::string manifest_suffix(uint32_t chunk) {
  std::string suffix = "m";
  Writer(suffix).u32_be(chunk);
  return suffix;
}

std::string prefix_end(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

}  // namespace covey
