#include "store/register/acceptor.h"

#include <algorithm>

#include "base/core/seeded_bug.h"
#include "store/meta/refused.h"

namespace covey {

TableSet::TableSet(const std::vector<const RegisterTable*>& tables) : all_(tables) {
  for (const RegisterTable* table : tables) tables_[static_cast<uint8_t>(table->id())] = table;
}

Acceptor::Outcome refusal(const Error& error) {
  Acceptor::Outcome out;
  out.reply.answer = Answer::kError;
  out.reply.code = error.code;
  out.reply.message = error.message;
  out.reply.detail = error.detail;
  return out;
}

namespace {

Acceptor::Outcome nack(const Ballot& promised, KvVersion after, bool never = false) {
  Acceptor::Outcome out;
  out.reply.answer = Answer::kNack;
  out.reply.promised = promised;
  out.reply.never = never;
  out.after = after;
  return out;
}

}  // namespace

Result<PartitionState> Acceptor::partition(PartitionId partition, KvVersion& after) {
  TRY(std::optional<KvValue> stored, kv_.get(partition_store_key(partition)));
  if (!stored) return PartitionState{};
  after = std::max(after, stored->version);
  return decode_partition_state(stored->bytes);
}

std::optional<Acceptor::Outcome> Acceptor::fenced(PartitionId partition, const Fence& fence) {
  if (fence.bucket.is_zero()) return std::nullopt;
  auto stored = kv_.get(fence_store_key(partition, fence.bucket));
  if (!stored) return refusal(stored.error());
  if (!*stored) return std::nullopt;
  Reader r((*stored)->bytes);
  r.u8();  // format
  uint64_t lowest = r.u64();
  if (!r.done()) return refusal(Error{ErrorCode::kCorrupt, "a bucket's fence is malformed", {}});
  if (fence.generation >= lowest) return std::nullopt;
  Outcome out;
  out.reply.answer = Answer::kStale;
  out.after = (*stored)->version;
  return out;
}

Acceptor::Outcome Acceptor::prepare(PartitionId id, const Ballot& ballot) {
  Outcome out;
  auto state = partition(id, out.after);
  if (!state) return refusal(state.error());
  if (ballot < state->promised) return nack(state->promised, out.after);
  out.reply.promised = ballot;
  if (ballot == state->promised) return out;
  taken_.try_emplace(id, Taken{state->promised, {}});
  state->promised = ballot;
  out.batch.put(partition_store_key(id), encode_partition_state(*state));
  out.batch.use_reserve();  // without a promise nobody could take over, not even for deletes
  return out;
}

Acceptor::Outcome Acceptor::learn(const RegisterKey& key, const Ballot& ballot) {
  KvVersion after = 0;
  auto state = partition(key.partition, after);
  if (!state) return refusal(state.error());
  // Only under exactly this promise: else a row accepted in between could be missed.
  const bool lenient = SEEDED_BUG("register-learn-below-promise");
  if (ballot != state->promised && !lenient) return nack(state->promised, after);
  Outcome out = read(key, Want::kRow, Fence{});
  out.after = std::max(out.after, after);
  return out;
}

void Acceptor::took(PartitionId id, const Ballot& promised, const Rank& rank) {
  Taken& taken = taken_.try_emplace(id, Taken{promised, {}}).first->second;
  for (Rank& top : taken.tops) {
    if (top.ballot != rank.ballot) continue;
    top.seq = std::max(top.seq, rank.seq);
    return;
  }
  taken.tops.push_back(rank);
  if (taken.tops.size() <= kTakenBallotsMax) return;
  taken.since = taken.tops.front().ballot;
  taken.tops.erase(taken.tops.begin());
}

// The rank's ballot was promised after this process began to count, and every row that it took
// under the ballot came earlier in the holder's order. (A row that an earlier process took had its
// ballot promised with it.)
bool Acceptor::never_took(PartitionId id, const Rank& rank) const {
  auto taken = taken_.find(id);
  if (taken == taken_.end() || rank.ballot <= taken->second.since) return false;
  for (const Rank& top : taken->second.tops)
    if (top.ballot == rank.ballot) return top.seq < rank.seq;
  return true;
}

// `old` is what stands for the key, the floor where it is missing: whatever was collected was at or
// below it.
void Acceptor::displaced(const std::string& store_key, const Rank& old, const Rank& fresh) {
  const bool crosses = old.ballot != fresh.ballot;
  auto known = skipped_.find(store_key);
  // What displaced it then does not stand: the disk was full, or it was purged since.
  if (known != skipped_.end() && old < known->second.to) skipped_.erase(known);
  if (!crosses) return;
  if (skipped_.size() >= kSkippedKeysMax) skipped_.clear();
  skipped_[store_key] = {old, fresh};
}

// A key's ranks only rise here: below `from` were all before, at `to` and above are all since. Of
// an earlier layout there may have been others, which were purged.
bool Acceptor::skipped(const std::string& store_key, const Rank& rank, const Rank& at) const {
  auto known = skipped_.find(store_key);
  if (known == skipped_.end()) return false;
  const Skipped& gap = known->second;
  return gap.from < rank && rank < gap.to && at >= gap.to &&
         rank.ballot.epoch == gap.to.ballot.epoch;
}

Acceptor::Outcome Acceptor::accept(const RegisterKey& key, const Entry& entry,
                                   const std::vector<Attachment>& attachments, const Fence& fence,
                                   uint32_t epoch) {
  if (auto refused = fenced(key.partition, fence))
    if (!SEEDED_BUG("register-accept-unfenced")) return std::move(*refused);
  Outcome out;
  auto state = partition(key.partition, out.after);
  if (!state) return refusal(state.error());
  std::string store_key = register_store_key(key);
  auto stored = kv_.get(store_key);
  if (!stored) return refusal(stored.error());
  Result<EntryView> old = EntryView{};
  if (*stored) {
    old = view_entry((*stored)->bytes);
    if (!old) return refusal(old.error());
    out.after = std::max(out.after, (*stored)->version);
  }
  const Ballot& ballot = entry.rank.ballot;
  const Rank at = *stored ? old->rank : state->floor;
  const bool never = at < entry.rank || never_took(key.partition, entry.rank) ||
                     skipped(store_key, entry.rank, at);
  const bool blind = SEEDED_BUG("register-accept-below-promise");
  if (ballot < state->promised && !blind) return nack(state->promised, out.after, never);
  if (ballot.epoch != epoch && !SEEDED_BUG("register-epoch-ignored"))
    return nack(Ballot{epoch, state->promised.counter, 0, 0}, out.after, never);

  if (!*stored) {
    if (entry.rank <= state->floor) {
      out.reply.answer = Answer::kFloor;
      out.reply.floor = state->floor;
      return out;
    }
  } else {
    if (entry.rank <= old->rank) {
      // The same row again, or superseded by a later row of the same holder: an ack either way.
      if (ballot == old->rank.ballot) return out;
      return nack(old->rank.ballot, out.after, never);
    }
    const RegisterTable* table = tables_.find(key.table);
    if (table && !old->tombstone) {
      std::optional<std::string> fresh;
      if (!entry.tombstone) fresh = entry.row;
      table->on_replace(key, old->row, fresh, out.batch);
    }
  }
  if (!entry.tombstone) {
    if (auto reclaimed = without_data(key.table, entry.row)) return std::move(*reclaimed);
  }
  took(key.partition, state->promised, entry.rank);
  displaced(store_key, at, entry.rank);
  if (ballot > state->promised) {
    state->promised = ballot;
    out.batch.put(partition_store_key(key.partition), encode_partition_state(*state));
  }
  for (const Attachment& row : attachments)
    out.batch.put(attachment_store_key(key.partition, row.owner, row.suffix), row.value);
  out.batch.put(std::move(store_key), encode_entry(entry));
  if (entry.tombstone) out.batch.use_reserve();
  changed(key.partition);
  return out;
}

// The refusal of a row whose blocks this replica has reclaimed: nobody knew of it when they were.
std::optional<Acceptor::Outcome> Acceptor::without_data(TableId id, std::string_view row) {
  const RegisterTable* table = tables_.find(id);
  if (!table) return std::nullopt;
  for (const VersionId& version : table->brings(row)) {
    auto refused = kv_.get(refused_store_key(version));
    if (!refused) return refusal(refused.error());
    if (*refused)
      return refusal(Error{ErrorCode::kUnavailable,
                           "the data of this row came too long ago and was given up: send it again",
                           {}});
  }
  return std::nullopt;
}

Acceptor::Outcome Acceptor::read(const RegisterKey& key, Want want, const Fence& fence) {
  if (auto refused = fenced(key.partition, fence)) return std::move(*refused);
  Outcome out;
  auto stored = kv_.get(register_store_key(key));
  if (!stored) return refusal(stored.error());
  if (!*stored) {
    auto state = partition(key.partition, out.after);
    if (!state) return refusal(state.error());
    out.reply.floor = state->floor;
    return out;
  }
  out.after = (*stored)->version;
  out.reply.present = true;
  if (want == Want::kRank) {
    auto view = view_entry((*stored)->bytes);
    if (!view) return refusal(view.error());
    out.reply.entry.rank = view->rank;
    out.reply.entry.tombstone = view->tombstone;
    out.reply.entry.committed = view->committed;
    return out;
  }
  auto entry = decode_entry((*stored)->bytes);
  if (!entry) return refusal(entry.error());
  out.reply.has_entry = true;
  out.reply.entry = std::move(*entry);
  const RegisterTable* table = tables_.find(key.table);
  if (want == Want::kRowInline && table && !out.reply.entry.tombstone) {
    if (auto name = table->inline_attachment(out.reply.entry.row)) {
      auto body = kv_.get(attachment_store_key(key.partition, name->first, name->second));
      if (!body) return refusal(body.error());
      if (*body) out.reply.text = std::move((*body)->bytes);
      if (*body) out.after = std::max(out.after, (*body)->version);
    }
  }
  if (want != Want::kAll) return out;
  for (const AttachmentName& name : out.reply.entry.names) {
    auto value = kv_.get(attachment_store_key(key.partition, name.owner, name.suffix));
    if (!value) return refusal(value.error());
    if (!*value) continue;  // reclaimed, or written before the row and on other replicas
    out.after = std::max(out.after, (*value)->version);
    out.reply.attachments.push_back({name.owner, name.suffix, std::move((*value)->bytes)});
  }
  return out;
}

Acceptor::Outcome Acceptor::put_attachments(PartitionId id, const std::vector<Attachment>& rows,
                                            const Fence& fence) {
  if (auto refused = fenced(id, fence)) return std::move(*refused);
  Outcome out;
  for (const Attachment& row : rows)
    out.batch.put(attachment_store_key(id, row.owner, row.suffix), row.value);
  return out;
}

Acceptor::Outcome Acceptor::read_attachment(PartitionId id, const VersionId& owner,
                                            std::string_view suffix) {
  Outcome out;
  auto value = kv_.get(attachment_store_key(id, owner, suffix));
  if (!value) return refusal(value.error());
  if (!*value) return out;
  out.after = (*value)->version;
  out.reply.text = std::move((*value)->bytes);
  return out;
}

Acceptor::Outcome Acceptor::fence(PartitionId id, const Fence& fence) {
  if (auto refused = fenced(id, fence)) {
    // A higher fence stands already: nothing to raise.
    if (refused->reply.answer == Answer::kStale) refused->reply.answer = Answer::kYes;
    return std::move(*refused);
  }
  Outcome out;
  std::string value;
  Writer w(value);
  w.u8(1);  // format
  w.u64(fence.generation);
  out.batch.put(fence_store_key(id, fence.bucket), std::move(value));
  changed(id);
  return out;
}

WriteBatch Acceptor::committed(const std::vector<CommitNotice>& notices) {
  WriteBatch batch;
  for (const CommitNotice& notice : notices) {
    std::string store_key = register_store_key(notice.key);
    auto stored = kv_.get(store_key);
    if (!stored) continue;
    if (!*stored) {
      missed(notice);
      continue;
    }
    auto view = view_entry((*stored)->bytes);
    if (view && view->rank < notice.rank) missed(notice);
    if (!view || view->committed || view->rank != notice.rank) continue;
    mark_committed((*stored)->bytes);
    batch.put(std::move(store_key), std::move((*stored)->bytes));
    changed(notice.key.partition);
  }
  return batch;
}

void Acceptor::missed(const CommitNotice& notice) {
  if (missed_.rows.size() < kMissedMax) return missed_.rows.push_back(notice);
  auto& list = missed_.overflow;
  const PartitionId id = notice.key.partition;
  if (std::find(list.begin(), list.end(), id) == list.end()) list.push_back(id);
}

Acceptor::Missed Acceptor::take_missed() { return std::exchange(missed_, {}); }

Result<bool> Acceptor::lacks(const CommitNotice& row) {
  TRY(std::optional<KvValue> stored, kv_.get(register_store_key(row.key)));
  if (stored) {
    TRY(EntryView view, view_entry(stored->bytes));
    return view.rank < row.rank;
  }
  KvVersion after = 0;
  TRY(PartitionState state, partition(row.key.partition, after));
  return state.floor < row.rank;
}

Result<Merged> Acceptor::merge(const RegisterKey& key, const Entry& entry,
                               const std::vector<Attachment>& attachments, WriteBatch& batch) {
  CHECK(entry.committed);
  const RegisterTable* joining = tables_.find(key.table);
  if (joining && joining->joins()) return join(*joining, key, entry, attachments, batch);
  std::string store_key = register_store_key(key);
  TRY(std::optional<KvValue> stored, kv_.get(store_key));
  Merged merged = Merged::kTaken;
  KvVersion after = 0;
  TRY(PartitionState state, partition(key.partition, after));
  Rank at = state.floor;
  if (!stored) {
    // A tombstone at or below the floor was collected here.
    if (entry.rank <= state.floor && !SEEDED_BUG("sync-floor-ignored"))
      return entry.tombstone ? Merged::kKnown : Merged::kFloor;
  } else {
    TRY(EntryView old, view_entry(stored->bytes));
    at = old.rank;
    if (entry.rank < old.rank && !SEEDED_BUG("sync-merge-lower-rank")) return Merged::kKnown;
    if (entry.rank == old.rank) merged = Merged::kKnown;
    if (entry.rank == old.rank && old.committed && attachments.empty()) return merged;
    const RegisterTable* table = tables_.find(key.table);
    if (merged == Merged::kTaken && table && !old.tombstone) {
      std::optional<std::string> fresh;
      if (!entry.tombstone) fresh = entry.row;
      table->on_replace(key, old.row, fresh, batch);
    }
  }
  if (merged == Merged::kTaken) {
    took(key.partition, state.promised, entry.rank);
    displaced(store_key, at, entry.rank);
  }
  for (const Attachment& row : attachments)
    batch.put(attachment_store_key(key.partition, row.owner, row.suffix), row.value);
  batch.put(std::move(store_key), encode_entry(entry));
  // The row is chosen: whoever refused its data here was wrong, and others have it.
  const RegisterTable* bringer = entry.tombstone ? nullptr : tables_.find(key.table);
  if (bringer) {
    for (const VersionId& version : bringer->brings(entry.row)) {
      TRY(std::optional<KvValue> refused, kv_.get(refused_store_key(version)));
      if (refused) batch.erase(refused_store_key(version));
    }
  }
  changed(key.partition);
  return merged;
}

Result<Merged> Acceptor::join(const RegisterTable& table, const RegisterKey& key,
                              const Entry& entry, const std::vector<Attachment>& attachments,
                              WriteBatch& batch) {
  std::string store_key = register_store_key(key);
  TRY(std::optional<KvValue> stored, kv_.get(store_key));
  Entry fresh;
  fresh.committed = true;
  fresh.row = entry.row;
  bool taken = true;
  if (stored) {
    TRY(EntryView old, view_entry(stored->bytes));
    TRY(RegisterTable::Joined joined, table.join(old.row, entry.row));
    taken = joined.rank != old.rank;
    fresh.row = std::move(joined.row), fresh.rank = joined.rank;
    if (taken) table.on_replace(key, old.row, fresh.row, batch);
  } else {
    TRY(RegisterTable::Joined joined, table.join(entry.row, entry.row));
    fresh.rank = joined.rank;
  }
  for (const Attachment& row : attachments)
    batch.put(attachment_store_key(key.partition, row.owner, row.suffix), row.value);
  if (taken) {
    batch.put(std::move(store_key), encode_entry(fresh));
    for (const VersionId& version : table.brings(fresh.row)) {
      TRY(std::optional<KvValue> refused, kv_.get(refused_store_key(version)));
      if (refused) batch.erase(refused_store_key(version));
    }
  }
  changed(key.partition);
  return taken ? Merged::kTaken : Merged::kKnown;
}

Status Acceptor::merge_fence(PartitionId id, const BucketId& bucket, uint64_t generation,
                             WriteBatch& batch) {
  Outcome raised = fence(id, Fence{bucket, generation});
  if (raised.reply.answer == Answer::kError)
    return fail(raised.reply.code, std::move(raised.reply.message));
  for (WriteBatch::Op& op : raised.batch.ops()) batch.put(std::move(op.key), std::move(*op.value));
  changed(id);
  return {};
}

Result<size_t> Acceptor::collect(PartitionId id, const std::vector<CommitNotice>& tombstones,
                                 WriteBatch& batch) {
  KvVersion after = 0;
  TRY(PartitionState state, partition(id, after));
  size_t dropped = 0;
  for (const CommitNotice& one : tombstones) {
    std::string store_key = register_store_key(one.key);
    TRY(std::optional<KvValue> stored, kv_.get(store_key));
    if (!stored) continue;
    TRY(EntryView view, view_entry(stored->bytes));
    if (!view.tombstone || !view.committed || view.rank != one.rank) continue;
    state.floor = std::max(state.floor, one.rank);
    batch.erase(std::move(store_key));
    ++dropped;
  }
  if (dropped == 0) return dropped;
  batch.put(partition_store_key(id), encode_partition_state(state));
  batch.use_reserve();
  changed(id);
  return dropped;
}

uint64_t Acceptor::changes(PartitionId partition) const {
  return partition < changes_.size() ? changes_[partition] : 0;
}

void Acceptor::changed(PartitionId partition) {
  if (partition >= changes_.size()) changes_.resize(partition + 1);
  ++changes_[partition];
}

}  // namespace covey
