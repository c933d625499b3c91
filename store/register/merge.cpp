// What anti-entropy (store/sync) does to registers: rows that other replicas have are joined,
// proven tombstones dropped, keys without a quorum of one rank written again by their holder.
#include <iterator>
#include <utility>

#include "store/register/service.h"

namespace covey {

Task<Result<std::vector<Merged>>> RegisterService::merge(PartitionId partition, uint32_t under,
                                                         std::vector<MergeRow> rows) {
  CO_TRY(PlaceRef at, place(partition));
  if (at->epoch != under || !at->self_in)
    co_return fail(ErrorCode::kStale, "the layout has changed: compare again");
  WriteBatch batch;
  std::vector<Merged> merged;
  for (const MergeRow& row : rows) {
    if (row.key.partition != partition || !row.entry.committed)
      co_return fail(ErrorCode::kInvalid, "a row to merge is not committed");
    CO_TRY(Merged one, acceptor_.merge(row.key, row.entry, row.attachments, batch));
    merged.push_back(one);
    heard(row.key, row.entry.rank.ballot);
  }
  batch.use_repair_share();
  Status written;
  if (!batch.empty()) written = co_await kv_.write(std::move(batch));
  // Nothing was done: rows need not come together, and attachments may come before their row.
  if (written.is(ErrorCode::kTooLarge) && rows.size() > 1) {
    auto half = rows.begin() + static_cast<ptrdiff_t>(rows.size() / 2);
    std::vector<MergeRow> rest(std::make_move_iterator(half), std::make_move_iterator(rows.end()));
    rows.erase(half, rows.end());
    CO_TRY(merged, co_await merge(partition, under, std::move(rows)));
    CO_TRY(std::vector<Merged> more, co_await merge(partition, under, std::move(rest)));
    merged.insert(merged.end(), more.begin(), more.end());
    co_return merged;
  }
  if (written.is(ErrorCode::kTooLarge) && !rows[0].attachments.empty()) {
    std::vector<Attachment> attachments = std::exchange(rows[0].attachments, {});
    for (const Attachment& one : attachments) {
      WriteBatch alone;
      alone.put(attachment_store_key(partition, one.owner, one.suffix), one.value);
      alone.use_repair_share();
      CO_TRY_STATUS(co_await kv_.write(std::move(alone)));
    }
    co_return co_await merge(partition, under, std::move(rows));
  }
  CO_TRY_STATUS(std::move(written));
  co_return merged;
}

Task<Status> RegisterService::merge_fences(PartitionId partition, uint32_t under,
                                           std::vector<Fence> fences) {
  CO_TRY(PlaceRef at, place(partition));
  if (at->epoch != under || !at->self_in)
    co_return fail(ErrorCode::kStale, "the layout has changed: compare again");
  WriteBatch batch;
  for (const Fence& fence : fences) {
    CO_TRY_STATUS(acceptor_.merge_fence(partition, fence.bucket, fence.generation, batch));
  }
  batch.use_repair_share();
  if (!batch.empty()) {
    CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
  }
  co_return Status();
}

Task<Result<size_t>> RegisterService::collect(PartitionId partition, uint32_t under,
                                              std::vector<CommitNotice> tombstones) {
  CO_TRY(PlaceRef at, place(partition));
  if (at->epoch != under || !at->self_in)
    co_return fail(ErrorCode::kStale, "the layout has changed: prove it again");
  WriteBatch batch;
  CO_TRY(size_t dropped, acceptor_.collect(partition, tombstones, batch));
  // What was learnt of these keys names rows that are gone; the next write learns again.
  for (const CommitNotice& one : tombstones) forget(register_store_key(one.key));
  if (!batch.empty()) {
    CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
  }
  co_return dropped;
}

void RegisterService::mark_committed(const std::vector<CommitNotice>& notices) {
  WriteBatch batch = acceptor_.committed(notices);
  if (!batch.empty()) (void)kv_.write_unlogged(std::move(batch));
}

Task<Status> RegisterService::settle_key(RegisterKey key, Rank above, TimePoint deadline) {
  CO_TRY(PlaceRef at, place(key.partition));
  co_return co_await settle_by_holder(std::move(key), at, above, deadline);
}

void RegisterService::forget(const std::string& store_key) {
  auto it = learnt_.find(store_key);
  if (it == learnt_.end()) return;
  ages_.erase(it->second.age);
  learnt_.erase(it);
}

}  // namespace covey
