#include "store/objects/store.h"

#include <algorithm>
#include <chrono>

#include "base/core/limits.h"

namespace covey {
namespace {

constexpr Duration kStepTimeout = std::chrono::milliseconds(4000);
constexpr int kStaleRetriesMax = 4;

}  // namespace

Store::Store(Runtime runtime, Scope& scope, MemoryBudget& memory, Registers& registers,
             Blocks& blocks, const Topology& topology, Available available)
    : runtime_(runtime),
      scope_(scope),
      memory_(memory),
      registers_(registers),
      blocks_(blocks),
      topology_(topology),
      available_(available),
      directory_(runtime_, registers, topology, available.control) {}

Store::~Store() = default;

TimePoint Store::step(TimePoint deadline) const {
  return std::min(deadline, runtime_.clock.after(kStepTimeout));
}

Task<Result<BucketAt>> Store::find_bucket(std::string name, TimePoint deadline) {
  return directory_.find(std::move(name), Freshness::kCached, step(deadline));
}

Task<Result<BucketAt>> Store::writable_bucket(std::string name, TimePoint deadline) {
  CO_TRY(BucketAt at, co_await find_bucket(name, deadline));
  if (!at.deleting || at.space.available) co_return at;
  // A deletion that is under way loses to this write, and one that its gateway did not finish is
  // undone by it.
  CO_TRY(rows::BucketRow row, co_await directory_.row(name, step(deadline)));
  if (row.deleting()) {
    uint64_t expect = row.generation();
    row.set_deleting(false);
    row.set_generation(expect + 1);
    CO_TRY(row, co_await change_bucket(name, expect, row, deadline));
  }
  co_return co_await find_bucket(name, deadline);
}

Task<Status> Store::refresh(BucketAt& at, TimePoint deadline) {
  BucketId before = at.bucket.id;
  CO_TRY(BucketAt now, co_await directory_.find(at.bucket.name, Freshness::kNow, step(deadline)));
  if (now.bucket.id != before)
    co_return fail(ErrorCode::kNoSuchBucket, "the bucket was deleted and made again");
  at = std::move(now);
  co_return Status();
}

Mutation Store::new_mutation(std::string body) {
  Mutation mutation;
  mutation.operation = runtime_.rng.id<OperationId>();
  mutation.body = std::move(body);
  return mutation;
}

Task<Result<std::string>> Store::mutate(BucketAt& at, RegisterKey key, Mutation mutation,
                                        TimePoint deadline) {
  for (int tries = 0;; ++tries) {
    mutation.fence = at.fence();
    auto reply = co_await rows_of(at).mutate(key, mutation, step(deadline));
    if (!reply.is(ErrorCode::kStale) || tries == kStaleRetriesMax) co_return reply;
    if (at.space.available) {
      CO_TRY_STATUS(co_await reopen(at.bucket.name, deadline));
    }
    CO_TRY_STATUS(co_await refresh(at, deadline));
    if (at.deleting) co_return fail(ErrorCode::kConflict, "the bucket is being deleted");
    mutation.operation = runtime_.rng.id<OperationId>();
  }
}

Task<Result<ReadResult>> Store::read(BucketAt& at, RegisterKey key, bool with_inline,
                                     TimePoint deadline) {
  for (int tries = 0;; ++tries) {
    auto reply = co_await rows_of(at).read(key, with_inline, at.fence(), step(deadline));
    if (!reply.is(ErrorCode::kStale) || tries == kStaleRetriesMax) co_return reply;
    CO_TRY_STATUS(co_await refresh(at, deadline));
  }
}

Task<Result<RangePage>> Store::range(BucketAt& at, RangeQuery query, TimePoint deadline) {
  for (int tries = 0;; ++tries) {
    query.fence = at.fence();
    auto reply = co_await rows_of(at).range(query, step(deadline));
    if (!reply.is(ErrorCode::kStale) || tries == kStaleRetriesMax) co_return reply;
    CO_TRY_STATUS(co_await refresh(at, deadline));
  }
}

Task<Status> Store::put_attachments(BucketAt& at, PartitionId partition,
                                    std::vector<Attachment> rows, TimePoint deadline) {
  for (int tries = 0;; ++tries) {
    auto reply = co_await rows_of(at).put_attachments(partition, rows, at.fence(), step(deadline));
    if (!reply.is(ErrorCode::kStale) || tries == kStaleRetriesMax) co_return reply;
    CO_TRY_STATUS(co_await refresh(at, deadline));
  }
}

Task<Status> Store::put_chunks(BucketAt& at, PartitionId partition, std::vector<Attachment> chunks,
                               TimePoint deadline) {
  for (Attachment& chunk : chunks) {
    std::vector<Attachment> one;
    one.push_back(std::move(chunk));
    CO_TRY_STATUS(co_await put_attachments(at, partition, std::move(one), deadline));
  }
  co_return Status();
}

}  // namespace covey
