#include "store/objects/directory.h"

#include <chrono>

namespace covey {
namespace {

constexpr size_t kKnownBucketsMax = 10000;
constexpr Duration kKnownFor = std::chrono::seconds(2);
constexpr const char* kPublished = "available-buckets";

}  // namespace

Status check_available(const BucketAt& at, const Conditions& conditions) {
  if (!at.space.available || conditions.empty()) return {};
  return fail(ErrorCode::kNotImplemented,
              "Conditional writes need a strong bucket: this one is available, its sites take "
              "writes while they are cut off from each other.");
}

Bucket bucket_from_row(std::string name, const rows::BucketRow& row) {
  Bucket bucket;
  bucket.name = std::move(name);
  bucket.id = BucketId::from_bytes(row.id()).value_or(BucketId{});
  bucket.generation = row.generation();
  bucket.owner = row.owner();
  bucket.created = {row.created_ms()};
  bucket.region = row.region();
  bucket.index_shards = row.index_shards();
  bucket.consistency = row.available() ? Consistency::kAvailable : Consistency::kStrong;
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
  at.space = {at.bucket.id, row.index_shards(), topology_.layout()->current.partitions(),
              row.available()};
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
  std::optional<rows::BucketRow> everywhere = published(name);
  if (everywhere && freshness == Freshness::kCached) {
    remember(name, *everywhere);
    co_return known_[name].at;
  }
  auto row = co_await this->row(name, deadline);
  bool cut_off = row.is(ErrorCode::kUnavailable) || row.is(ErrorCode::kTimeout);
  if (cut_off && everywhere) {
    remember(name, *everywhere);
    co_return known_[name].at;
  }
  if (row.is(ErrorCode::kNoSuchBucket) && everywhere) {
    Status gone = co_await withdraw(name, deadline);
    (void)gone;
  }
  if (!row) co_return tl::unexpected<Error>(std::move(row).error());
  if (row->available() && (!everywhere || everywhere->generation() < row->generation())) {
    Status told = co_await publish(name, *row, deadline);
    (void)told;  // the next look tells again
  }
  auto it = known_.find(name);
  if (it == known_.end()) co_return fail(ErrorCode::kUnavailable, "the bucket changed meanwhile");
  co_return it->second.at;
}

std::optional<rows::BucketRow> BucketDirectory::published(const std::string& name) const {
  std::optional<rows::BucketRow> row;
  if (!control_) return row;
  auto stored = control_->get(kPublished, name);
  if (!stored || !row.emplace().ParseFromString(*stored)) return std::nullopt;
  return row;
}

Task<Status> BucketDirectory::publish(std::string name, rows::BucketRow row, TimePoint deadline) {
  if (!control_) co_return Status();
  co_return co_await control_->put(kPublished, std::move(name), row.SerializeAsString(), deadline);
}

Task<Status> BucketDirectory::withdraw(std::string name, TimePoint deadline) {
  if (!control_) co_return Status();
  co_return co_await control_->remove(kPublished, std::move(name), deadline);
}

}  // namespace covey
