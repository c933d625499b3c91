#include "store/objects/directory.h"

#include <chrono>

namespace covey {
namespace {

constexpr size_t kKnownBucketsMax = 10000;
constexpr Duration kKnownFor = std::chrono::seconds(2);

}  // namespace

Bucket bucket_from_row(std::string name, const rows::BucketRow& row) {
  Bucket bucket;
  bucket.name = std::move(name);
  bucket.id = BucketId::from_bytes(row.id()).value_or(BucketId{});
  bucket.generation = row.generation();
  bucket.owner = row.owner();
  bucket.created = {row.created_ms()};
  bucket.region = row.region();
  bucket.index_shards = row.index_shards();
  for (const auto& [user, grant] : row.grants()) {
    bucket.grants[user] = {grant.read(), grant.write(), grant.owner()};
  }
  for (const auto& [setting, value] : row.settings()) bucket.settings[setting] = value;
  return bucket;
}

Task<Result<rows::BucketRow>> BucketDirectory::row(std::string name, TimePoint deadline) {
  RegisterKey key = bucket_key(name, topology_.layout()->current.partitions());
  CO_TRY(ReadResult read, co_await registers_.read(std::move(key), false, Fence{}, deadline));
  if (!read.row) {
    forget(name);
    co_return fail(ErrorCode::kNoSuchBucket, "no such bucket");
  }
  rows::BucketRow row;
  if (!row.ParseFromString(*read.row))
    co_return fail(ErrorCode::kCorrupt, "a bucket row does not decode");
  remember(name, row);
  co_return row;
}

void BucketDirectory::remember(const std::string& name, const rows::BucketRow& row) {
  if (known_.size() >= kKnownBucketsMax) known_.clear();
  BucketAt at;
  at.bucket = bucket_from_row(name, row);
  at.space = {at.bucket.id, row.index_shards(), topology_.layout()->current.partitions()};
  at.deleting = row.deleting();
  known_[name] = {std::move(at), runtime_.clock.now()};
}

Task<Result<BucketAt>> BucketDirectory::find(std::string name, Freshness freshness,
                                             TimePoint deadline) {
  if (freshness == Freshness::kCached) {
    auto it = known_.find(name);
    if (it != known_.end() && runtime_.clock.now() - it->second.read < kKnownFor)
      co_return it->second.at;
  }
  CO_TRY(rows::BucketRow row, co_await this->row(name, deadline));
  auto it = known_.find(name);
  CHECK(it != known_.end());
  co_return it->second.at;
}

}  // namespace covey
