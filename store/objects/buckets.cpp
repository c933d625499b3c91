// Buckets: one register each. A change of settings raises the generation and fences the older one
// out of every partition that holds keys of the bucket, before it completes. DeleteBucket marks,
// fences, looks, then deletes.
#include <set>

#include "base/core/limits.h"
#include "store/objects/store.h"

namespace covey {

std::string_view consistency_name(Consistency consistency) {
  return consistency == Consistency::kAvailable ? "available" : "strong";
}

std::optional<Consistency> consistency_named(std::string_view name) {
  for (Consistency one : {Consistency::kStrong, Consistency::kAvailable})
    if (name == consistency_name(one)) return one;
  return std::nullopt;
}

namespace {

constexpr int kChangeRetriesMax = 8;
constexpr size_t kBucketsPage = 1000;
constexpr size_t kBucketsMax = 100000;

}  // namespace

Task<Result<Bucket>> Store::create_bucket(std::string name, std::string owner, std::string region,
                                          TimePoint deadline, Consistency consistency) {
  if (consistency == Consistency::kAvailable && !available_.rows)
    co_return fail(ErrorCode::kNotImplemented, "this store has no available buckets");
  rows::BucketMutation want;
  rows::BucketRow& row = *want.mutable_row();
  row.set_id(std::string(runtime_.rng.id<BucketId>().view()));
  row.set_generation(1);
  row.set_owner(owner);
  row.set_created_ms(runtime_.clock.wall_now().ms);
  row.set_region(region);
  row.set_index_shards(kIndexShardsDefault);
  row.set_available(consistency == Consistency::kAvailable);
  Mutation mutation = new_mutation(encode_mutation(false, want));
  RegisterKey key = bucket_key(name, topology_.layout()->current.partitions());
  auto reply = co_await registers_.mutate(std::move(key), std::move(mutation), step(deadline));
  if (reply.is(ErrorCode::kBucketAlreadyExists)) {
    CO_TRY(rows::BucketRow there, co_await directory_.row(name, step(deadline)));
    if (there.owner() == owner && there.available() != row.available())
      co_return fail(ErrorCode::kBucketAlreadyExists,
                     "you have this bucket already, and its consistency cannot be changed");
    if (there.owner() == owner)
      co_return fail(ErrorCode::kBucketAlreadyOwnedByYou, "you have this bucket already");
    co_return fail(ErrorCode::kBucketAlreadyExists, "somebody else has this bucket");
  }
  CO_TRY(std::string done, std::move(reply));
  directory_.remember(name, row);
  if (row.available()) {
    CO_TRY_STATUS(co_await directory_.publish(name, row, step(deadline)));
  }
  co_return bucket_from_row(std::move(name), row);
}

Task<Result<Bucket>> Store::bucket(std::string name, TimePoint deadline, Freshness freshness) {
  CO_TRY(BucketAt at, co_await directory_.find(std::move(name), freshness, step(deadline)));
  co_return std::move(at.bucket);
}

Task<Result<std::vector<Bucket>>> Store::buckets(TimePoint deadline) {
  std::vector<Bucket> found;
  RangeQuery query;
  query.table = TableId::kBuckets;
  query.partition = buckets_partition(topology_.layout()->current.partitions());
  query.end = "\xff";  // names are ASCII
  query.limit = kBucketsPage;
  while (found.size() < kBucketsMax) {
    CO_TRY(RangePage page, co_await registers_.range(query, step(deadline)));
    for (const RangeItem& item : page.items) {
      rows::BucketRow row;
      if (!row.ParseFromString(item.row))
        co_return fail(ErrorCode::kCorrupt, "a bucket row does not decode");
      found.push_back(bucket_from_row(item.key, row));
    }
    if (!page.truncated) break;
    query.begin = page.next;
  }
  co_return found;
}

// Writes the row over generation `expect` and fences what is older. Returns the row.
Task<Result<rows::BucketRow>> Store::change_bucket(std::string name, uint64_t expect,
                                                   rows::BucketRow row, TimePoint deadline) {
  CO_TRY(row, co_await change_register(name, expect, row, deadline));
  if (row.available()) {
    CO_TRY_STATUS(co_await directory_.publish(name, row, step(deadline)));
    co_return row;
  }
  CO_TRY_STATUS(co_await fence_bucket(row, deadline));
  co_return row;
}

Task<Result<rows::BucketRow>> Store::change_register(std::string name, uint64_t expect,
                                                     rows::BucketRow row, TimePoint deadline) {
  rows::BucketMutation want;
  *want.mutable_row() = row;
  want.set_expect_generation(expect);
  Mutation mutation = new_mutation(encode_mutation(false, want));
  RegisterKey key = bucket_key(name, topology_.layout()->current.partitions());
  CO_TRY(std::string done,
         co_await registers_.mutate(std::move(key), std::move(mutation), step(deadline)));
  directory_.remember(name, row);
  co_return row;
}

Task<Status> Store::remove_register(std::string name, uint64_t expect, TimePoint deadline) {
  rows::BucketMutation want;
  want.set_expect_generation(expect);
  want.set_remove(true);
  Mutation mutation = new_mutation(encode_mutation(false, want));
  RegisterKey key = bucket_key(name, topology_.layout()->current.partitions());
  CO_TRY(std::string done,
         co_await registers_.mutate(std::move(key), std::move(mutation), step(deadline)));
  directory_.forget(name);
  co_return Status();
}

// An available bucket takes writes again: a deletion that is under way loses to them, and one that
// was abandoned is undone.
Task<Status> Store::reopen(std::string name, TimePoint deadline) {
  CO_TRY(rows::BucketRow row, co_await directory_.row(name, step(deadline)));
  if (row.deleting()) {
    uint64_t expect = row.generation();
    row.set_deleting(false);
    row.set_generation(expect + 1);
    CO_TRY(row, co_await change_register(name, expect, row, deadline));
  }
  BucketId id = BucketId::from_bytes(row.id()).value_or(BucketId{});
  co_return co_await available_.rows->unseal(id, step(deadline));
}

Task<Status> Store::fence_bucket(rows::BucketRow row, TimePoint deadline) {
  Fence fence{BucketId::from_bytes(row.id()).value_or(BucketId{}), row.generation()};
  uint32_t partitions = topology_.layout()->current.partitions();
  std::set<PartitionId> fenced;
  for (uint32_t shard = 0; shard < row.index_shards(); ++shard) {
    fenced.insert(shard_partition(fence.bucket, shard, partitions));
  }
  for (PartitionId partition : fenced) {
    CO_TRY_STATUS(co_await registers_.fence(partition, fence, step(deadline)));
  }
  co_return Status();
}

Task<Result<Bucket>> Store::edit_bucket(std::string name, BucketEdit edit, TimePoint deadline) {
  for (int tries = 0;; ++tries) {
    CO_TRY(rows::BucketRow row, co_await directory_.row(name, step(deadline)));
    uint64_t expect = row.generation();
    edit(row);
    row.set_generation(expect + 1);
    row.set_deleting(false);
    auto changed = co_await change_bucket(name, expect, row, deadline);
    if (changed) co_return bucket_from_row(name, *changed);
    if (!changed.is(ErrorCode::kConflict) || tries == kChangeRetriesMax)
      co_return fail(changed.code(), changed.error().message);
  }
}

Task<Result<Bucket>> Store::set_bucket(std::string name, std::string setting,
                                       std::optional<std::string> value, TimePoint deadline) {
  auto edit = [setting = std::move(setting), value = std::move(value)](rows::BucketRow& row) {
    if (value)
      (*row.mutable_settings())[setting] = *value;
    else
      row.mutable_settings()->erase(setting);
  };
  return edit_bucket(std::move(name), std::move(edit), deadline);
}

Task<Result<Bucket>> Store::grant_bucket(std::string name, std::string user, Grant grant,
                                         TimePoint deadline) {
  auto edit = [user = std::move(user), grant](rows::BucketRow& row) {
    if (!grant.read && !grant.write && !grant.owner) {
      row.mutable_grants()->erase(user);
      return;
    }
    rows::BucketRow::Grant& to = (*row.mutable_grants())[user];
    to.set_read(grant.read);
    to.set_write(grant.write);
    to.set_owner(grant.owner);
  };
  return edit_bucket(std::move(name), std::move(edit), deadline);
}

Task<Result<bool>> Store::bucket_is_empty(std::string name, rows::BucketRow row,
                                          TimePoint deadline) {
  Bucket bucket = bucket_from_row(name, row);
  uint32_t partitions = topology_.layout()->current.partitions();
  for (uint32_t shard = 0; shard < row.index_shards(); ++shard) {
    RangeQuery query;
    query.table = TableId::kHeads;
    query.partition = shard_partition(bucket.id, shard, partitions);
    query.begin = shard_prefix(bucket.id, shard);
    query.end = prefix_end(query.begin);
    query.limit = 1;
    query.fence = {bucket.id, bucket.generation};
    bool more = true;
    while (more) {  // a page may hold nothing but tombstones
      CO_TRY(RangePage page, co_await registers_.range(query, step(deadline)));
      if (!page.items.empty()) co_return false;
      more = page.truncated;
      query.begin = page.next;
    }
  }
  co_return true;
}

// Every node must say that it holds no object of the bucket and takes none any more: a site that is
// cut off might. Hints and rows on their way count as held.
Task<Status> Store::delete_available(std::string name, rows::BucketRow row, TimePoint deadline) {
  if (!available_.rows)
    co_return fail(ErrorCode::kNotImplemented, "this store has no available buckets");
  BucketId id = BucketId::from_bytes(row.id()).value_or(BucketId{});
  uint64_t expect = row.generation();
  row.set_generation(expect + 1);
  row.set_deleting(true);
  CO_TRY(row, co_await change_register(name, expect, row, deadline));
  auto empty = co_await available_.rows->seal(id, step(deadline));
  if (!empty || !*empty) {
    Status open = co_await reopen(name, deadline);
    (void)open;  // the next write does it
    if (!empty) co_return tl::unexpected<Error>(std::move(empty).error());
    co_return fail(ErrorCode::kBucketNotEmpty, "the bucket is not empty");
  }
  CO_TRY_STATUS(co_await remove_register(name, row.generation(), deadline));
  co_return co_await directory_.withdraw(std::move(name), step(deadline));
}

Task<Status> Store::delete_bucket(std::string name, TimePoint deadline) {
  CO_TRY(rows::BucketRow row, co_await directory_.row(name, step(deadline)));
  if (row.available())
    co_return co_await delete_available(std::move(name), std::move(row), deadline);
  // Look first: a bucket in use need not be fenced twice to learn that it is not empty.
  CO_TRY(bool empty, co_await bucket_is_empty(name, row, deadline));
  if (!empty) co_return fail(ErrorCode::kBucketNotEmpty, "the bucket is not empty");
  uint64_t expect = row.generation();
  row.set_generation(expect + 1);
  row.set_deleting(true);
  CO_TRY(row, co_await change_bucket(name, expect, row, deadline));
  CO_TRY(empty, co_await bucket_is_empty(name, row, deadline));
  expect = row.generation();
  if (!empty) {
    row.set_generation(expect + 1);
    row.set_deleting(false);
    CO_TRY(row, co_await change_bucket(name, expect, row, deadline));
    co_return fail(ErrorCode::kBucketNotEmpty, "the bucket is not empty");
  }
  co_return co_await remove_register(std::move(name), expect, deadline);
}

}  // namespace covey
