// What a replica answers when another one compares.
#include <algorithm>

#include "store/sync/row_sync.h"

namespace covey {

namespace {

std::vector<uint64_t> numbers_of(const RowSyncReport& r) {
  return {r.peers,   r.peers_done, r.rows_pulled, r.attachments_pulled, r.bytes_pulled,
          r.flagged, r.settled,    r.left,        r.quorum ? 1u : 0u};
}

std::vector<uint64_t> numbers_of(const SettleReport& r) {
  return {r.rows, r.settled, r.left, r.done ? 1u : 0u};
}

}  // namespace

Task<Result<PeerMessage>> RowSync::serve(NodeId from, PeerMessage message) {
  CO_TRY(SyncRequest request, decode_sync_request(message.head));
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  if (!layout || stopped_)
    co_return fail(ErrorCode::kUnavailable, "this node does not compare rows now");
  PeerMessage out;
  SyncReply reply;
  const uint32_t epoch = layout->epoch;
  const bool placed = request.verb == SyncVerb::kRoots || place(request.partition).has_value();
  if (request.epoch == epoch && !placed)
    co_return fail(ErrorCode::kInvalid, "this node is no replica of the partition");
  if (request.epoch == epoch) {
    CO_TRY(reply, co_await answer(std::move(request)));
    // What is told must not be forgotten.
    CO_TRY_STATUS(co_await kv_.durable(kv_.visible_version()));
  }
  // Adopted another epoch meanwhile: the answer says nothing about either.
  if (request.epoch != epoch || topology_.layout()->epoch != epoch) {
    reply = SyncReply{};
    reply.epoch_differs = true;
  }
  reply.epoch = topology_.layout()->epoch;
  out.head = encode_sync(reply);
  co_return out;
}

Task<Result<SyncReply>> RowSync::answer(SyncRequest request) {
  TimePoint until = runtime_.clock.after(std::chrono::milliseconds(request.budget_ms));
  SyncReply reply;
  switch (request.verb) {
    case SyncVerb::kRoots: co_return co_await answer_roots(std::move(request));
    case SyncVerb::kCompare: co_return answer_compare(request);
    case SyncVerb::kList: co_return answer_list(request);
    case SyncVerb::kPull: co_return answer_pull(request);
    case SyncVerb::kProve: co_return answer_prove(request);
    case SyncVerb::kCatchUp: {
      CO_TRY(RowSyncReport report, co_await catch_up(request.partition, until));
      reply.numbers = numbers_of(report);
      co_return reply;
    }
    case SyncVerb::kSettle: {
      CO_TRY(SettleReport report, co_await settle(request.partition, until));
      reply.numbers = numbers_of(report);
      co_return reply;
    }
  }
  co_return fail(ErrorCode::kInvalid, "an unknown sync message: upgrade this node");
}

// ---- digests

Task<Result<uint64_t>> RowSync::root(PartitionId partition) {
  const uint64_t changes = registers_.changes(partition);
  auto known = roots_.find(partition);
  if (known != roots_.end() && known->second.changes == changes) co_return known->second.digest;
  uint64_t digest = 0;
  std::string behind;
  bool more = true;
  while (more) {
    {
      PartitionWalk walk(kv_, registers_.tables(), partition, behind);
      size_t walked = 0;
      for (; walk.valid() && walked < kSyncWalkRows; walk.next(), ++walked) {
        digest += walk.hash();
        behind.assign(walk.place());
      }
      CO_TRY_STATUS(walk.status());
      more = walk.valid();
    }
    if (more) co_await runtime_.loop.yield();
  }
  if (registers_.changes(partition) == changes) roots_[partition] = Root{changes, digest};
  co_return digest;
}

Task<Result<SyncReply>> RowSync::answer_roots(SyncRequest request) {
  SyncReply reply;
  for (PartitionId partition : request.partitions) {
    CO_TRY(uint64_t digest, co_await root(partition));
    reply.roots.push_back(digest);
  }
  co_return reply;
}

Task<Result<std::vector<bool>>> RowSync::same_roots(NodeId node,
                                                    std::vector<PartitionId> partitions,
                                                    TimePoint deadline) {
  SyncRequest request;
  request.verb = SyncVerb::kRoots;
  request.epoch = topology_.layout()->epoch;
  request.partitions = partitions;
  CO_TRY(SyncReply reply, co_await ask(node, std::move(request), deadline));
  if (reply.roots.size() != partitions.size())
    co_return fail(ErrorCode::kInvalid, "an answer about other partitions than asked for");
  std::vector<bool> same;
  for (size_t i = 0; i < partitions.size(); ++i) {
    CO_TRY(uint64_t mine, co_await root(partitions[i]));
    same.push_back(mine == reply.roots[i]);
  }
  co_return same;
}

Result<SyncReply> RowSync::answer_compare(const SyncRequest& request) const {
  RangeComparer comparer(request.ranges);
  PartitionWalk walk(kv_, registers_.tables(), request.partition, request.behind);
  while (walk.valid() && !comparer.done()) {
    const std::string* behind = comparer.add(walk.place(), walk.hash());
    if (!behind) {
      walk.next();
    } else if (behind->empty()) {
      break;
    } else {
      walk.skip_behind(*behind);
    }
  }
  TRY_STATUS(walk.status());
  SyncReply reply;
  reply.same = comparer.finish();
  return reply;
}

// ---- rows

Result<SyncReply> RowSync::answer_list(const SyncRequest& request) const {
  TRY(Marks marks, own_marks(request.partition, request.behind, request.to, kSyncMarksMax));
  SyncReply reply;
  reply.marks = std::move(marks.rows);
  reply.cut = marks.cut;
  KvVersion after = 0;
  TRY(PartitionState state, registers_.acceptor().partition(request.partition, after));
  reply.floor = state.floor;
  return reply;
}

// Committed rows only. The attachments of one row may not fit: the other side asks for those apart.
Result<SyncReply> RowSync::answer_pull(const SyncRequest& request) {
  SyncReply reply;
  size_t bytes = 0;
  for (const std::string& place : request.places) {
    if (bytes >= kSyncRowsBytes) {
      reply.cut = true;
      break;
    }
    ++reply.looked_at;
    TRY(std::optional<KvValue> stored, kv_.get(store_key_of(request.partition, place)));
    if (!stored) continue;
    PulledRow row;
    row.place = place;
    bytes += place.size() + stored->bytes.size();
    if (is_fence(place)) {
      TRY(uint64_t generation, fence_generation(stored->bytes));
      row.entry.rank = fence_rank(generation);
      row.entry.committed = true;
      reply.rows.push_back(std::move(row));
      continue;
    }
    TRY(row.entry, decode_entry(stored->bytes));
    if (!row.entry.committed) continue;
    TRY(RegisterKey key, key_of(request.partition, place));
    for (const AttachmentName& name : needed(key, row.entry)) {
      TRY(std::optional<KvValue> value,
          kv_.get(attachment_store_key(request.partition, name.owner, name.suffix)));
      if (!value || bytes >= 2 * kSyncRowsBytes) continue;
      bytes += value->bytes.size();
      row.attachments.push_back({name.owner, name.suffix, std::move(value->bytes)});
    }
    reply.rows.push_back(std::move(row));
  }
  totals_.rows_served += reply.rows.size();
  return reply;
}

Result<SyncReply> RowSync::answer_prove(const SyncRequest& request) const {
  SyncReply reply;
  for (const std::string& place : request.places) {
    TRY(std::optional<KvValue> stored, kv_.get(store_key_of(request.partition, place)));
    if (!stored) continue;
    TRY(EntryView view, view_entry(stored->bytes));
    reply.marks.push_back({place, view.rank, view.committed, view.tombstone});
  }
  KvVersion after = 0;
  TRY(PartitionState state, registers_.acceptor().partition(request.partition, after));
  reply.floor = state.floor;
  return reply;
}

// ---- asking others to work

Task<Result<RowSyncReport>> RowSync::catch_up_at(NodeId node, PartitionId partition,
                                                 TimePoint deadline) {
  if (node == topology_.self()) co_return co_await catch_up(partition, deadline);
  SyncRequest request;
  request.verb = SyncVerb::kCatchUp;
  request.epoch = topology_.layout()->epoch;
  request.partition = partition;
  request.budget_ms = budget_until(runtime_.clock.now(), deadline);
  CO_TRY(SyncReply reply, co_await ask(node, std::move(request), deadline));
  const std::vector<uint64_t>& n = reply.numbers;
  if (n.size() != 9) co_return fail(ErrorCode::kInvalid, "a malformed report of a catch-up");
  RowSyncReport report{partition, reply.epoch, n[0], n[1], n[2], n[3],
                       n[4],      n[5],        n[6], n[7], {},   n[8] != 0};
  co_return report;
}

Task<Result<SettleReport>> RowSync::settle_at(NodeId node, PartitionId partition,
                                              TimePoint deadline) {
  if (node == topology_.self()) co_return co_await settle(partition, deadline);
  SyncRequest request;
  request.verb = SyncVerb::kSettle;
  request.epoch = topology_.layout()->epoch;
  request.partition = partition;
  request.budget_ms = budget_until(runtime_.clock.now(), deadline);
  CO_TRY(SyncReply reply, co_await ask(node, std::move(request), deadline));
  const std::vector<uint64_t>& n = reply.numbers;
  if (n.size() != 4) co_return fail(ErrorCode::kInvalid, "a malformed report of a settling");
  SettleReport report{partition, reply.epoch, n[0], n[1], n[2], n[3] != 0};
  co_return report;
}

}  // namespace covey
