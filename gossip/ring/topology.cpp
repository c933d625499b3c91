#include "gossip/ring/topology.h"

#include <xxhash.h>

#include "base/core/check.h"

namespace covey {

PartitionId shard_partition(const BucketId& bucket, uint32_t shard, uint32_t partitions) {
  CHECK(partitions > 0);
  std::string input(bucket.view());
  for (int i = 0; i < 4; ++i) input.push_back(static_cast<char>(shard >> (8 * i)));
  return static_cast<PartitionId>(XXH3_64bits(input.data(), input.size()) % partitions);
}

uint32_t shard_of_key(std::string_view key, uint32_t shards) {
  CHECK(shards > 0);
  return static_cast<uint32_t>(XXH3_64bits(key.data(), key.size()) % shards);
}

PartitionId buckets_partition(uint32_t partitions) {
  CHECK(partitions > 0);
  return 0;
}

}  // namespace covey
