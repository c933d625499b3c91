// A node's own part: rows of the partitions that it replicates, hints for others, and what it
// answers when it is asked.
#include <algorithm>

#include "base/core/codec.h"
#include "base/core/limits.h"
#include "store/available/hint_rows.h"
#include "store/available/service.h"
#include "store/meta/refused.h"
#include "store/register/walk.h"

namespace covey {
namespace {

constexpr size_t kPageBytes = 1 * kMiB;  // of rows in one answer, about
constexpr uint8_t kFormat = 1;

std::string actor_key(PartitionId partition) {
  return register_store_prefix(TableId::kActors, partition);
}

std::string seal_key(const BucketId& bucket) {
  std::string key = table_begin(TableId::kSeals);
  return key.append(bucket.view());
}

}  // namespace

Result<AvailableRows::Known> AvailableRows::known(const RegisterKey& key, const Place& at) {
  Known known;
  if (at.self_in) {
    TRY(auto stored, kv_.get(register_store_key(key)));
    if (stored) {
      TRY(EntryView entry, view_entry(stored->bytes));
      TRY(known.row, decode_available(entry.row));
      known.stored = true;
    }
    TRY(auto actor, kv_.get(actor_key(key.partition)));
    if (actor) {
      Reader r(actor->bytes);
      r.u8();
      uint64_t number = r.u64();
      auto node = NodeId::from_bytes(r.raw(NodeId::kSize));
      if (!r.done()) return fail(ErrorCode::kCorrupt, "an actor does not decode");
      // A store that was rebuilt may lack events of its actor; its node has another id then.
      if (node == self_) known.actor = number;
    }
  }
  TRY(auto kept, kv_.get(hint_key(key)));
  if (!kept) return known;
  TRY(Hint hint, decode_hint(kept->bytes));
  known.row.join(hint.row);
  if (!at.self_in) known.actor = hint.actor, known.stored = true;
  return known;
}

Result<uint64_t> AvailableRows::actor_of(PartitionId partition, WriteBatch& batch) {
  uint64_t actor = runtime_.rng.next() | 1;
  std::string value;
  Writer w(value);
  w.u8(kFormat);
  w.u64(actor);
  w.raw(self_.view());
  batch.put(actor_key(partition), std::move(value));
  return actor;
}

Status AvailableRows::store(const RegisterKey& key, const Place& at, const AvailableRow& row,
                            uint64_t actor, const std::vector<Attachment>& attachments,
                            WriteBatch& batch) {
  if (at.self_in) {
    Entry entry;
    entry.committed = true;
    entry.rank = row.rank();
    entry.row = encode_available(row);
    TRY(Merged merged, registers_.acceptor().merge(key, entry, attachments, batch));
    (void)merged;
    return {};
  }
  TRY(auto kept, kv_.get(hint_key(key)));
  if (!kept && hints_ >= kHintsMax)
    return fail(ErrorCode::kOverloaded, "this node keeps as many hints for others as it may");
  if (!kept) ++hints_;
  for (const Attachment& one : attachments)
    batch.put(attachment_store_key(key.partition, one.owner, one.suffix), one.value);
  if (kept) {
    TRY(Hint before, decode_hint(kept->bytes));
    drop_unnamed(key, before.row, row, batch);
  }
  batch.put(hint_key(key), encode_hint({actor, row}));
  return {};
}

// Of a hint whose versions were replaced here: a replica's garbage rows see to that, here nobody
// would. Not of uploads: the object that one is completed to has the same attachments.
void AvailableRows::drop_unnamed(const RegisterKey& key, const AvailableRow& before,
                                 const AvailableRow& now, WriteBatch& batch) const {
  const AvailableTable* of = table(key.table);
  if (!of || !of->versions()) return;
  auto named = of->attachments(encode_available(now));
  for (auto& one : of->attachments(encode_available(before))) {
    bool stays = std::find(named.begin(), named.end(), one) != named.end();
    if (!stays) batch.erase(attachment_store_key(key.partition, one.first, one.second));
  }
}

Status AvailableRows::merge_here(const AvailableRequest& request, WriteBatch& batch) {
  Place at = place(request.key.partition);
  TRY(AvailableRow row, decode_available(request.row));
  witness(row);
  uint64_t actor = 0;
  if (!at.self_in) {
    TRY(Known here, known(request.key, at));
    row.join(here.row);
    actor = here.actor;
  }
  return store(request.key, at, row, actor, request.attachments, batch);
}

// What is stored here of a range: rows and hints.
Result<std::vector<AvailableItem>> AvailableRows::rows_here(const RegisterKey& begin,
                                                            const std::string& end, size_t limit,
                                                            bool& cut) {
  std::map<std::string, AvailableRow> found;
  std::optional<std::string> last;  // of a source that was cut
  auto collect = [&](const std::string& prefix, bool hints) -> Status {
    auto it = kv_.scan(prefix + begin.key, end.empty() ? behind_prefix(prefix) : prefix + end);
    size_t bytes = 0, count = 0;
    std::string key;
    for (; it->valid() && count < limit && bytes < kPageBytes; it->next(), ++count) {
      key = it->key().substr(prefix.size());
      bytes += it->value().size();
      AvailableRow row;
      if (hints) {
        TRY(Hint hint, decode_hint(it->value()));
        row = std::move(hint.row);
      } else {
        TRY(EntryView entry, view_entry(it->value()));
        TRY(row, decode_available(entry.row));
      }
      found[key].join(row);
    }
    TRY_STATUS(it->status());
    if (it->valid() && (!last || key < *last)) last = key;
    return {};
  };
  TRY_STATUS(collect(register_store_prefix(begin.table, begin.partition), false));
  TRY_STATUS(collect(hint_prefix(begin.table, begin.partition), true));
  cut = last.has_value();
  std::vector<AvailableItem> items;
  for (auto& [key, row] : found) {
    if (cut && key > *last) break;
    AvailableItem item;
    item.key = key;
    item.row = encode_available(row);
    items.push_back(std::move(item));
  }
  return items;
}

Registers::LocalState local_state(std::optional<std::string> row) {
  Registers::LocalState state;
  state.row = std::move(row);
  state.committed = true;
  return state;
}

// The encoded AvailableRow.
Result<Registers::LocalState> AvailableRows::local(const RegisterKey& key) {
  TRY(Known here, known(key, place(key.partition)));
  if (!here.stored && here.row.context.empty()) return local_state(std::nullopt);
  return local_state(encode_available(here.row));
}

// ---- buckets that are being deleted

Result<bool> AvailableRows::sealed(const BucketId& bucket) {
  TRY(auto row, kv_.get(seal_key(bucket)));
  return row.has_value();
}

Result<bool> AvailableRows::live_here(const BucketId& bucket) {
  uint32_t partitions = topology_.layout()->current.partitions();
  for (PartitionId partition = 0; partition < partitions; ++partition) {
    RegisterKey begin{TableId::kAvailableHeads, partition, std::string(bucket.view())};
    std::string end = behind_prefix(begin.key);
    bool cut = true;
    while (cut) {
      TRY(std::vector<AvailableItem> items, rows_here(begin, end, kListKeysMax, cut));
      for (const AvailableItem& item : items) {
        TRY(AvailableRow row, decode_available(item.row));
        for (const Sibling& one : row.siblings)
          if (!one.tombstone) return true;
      }
      if (!items.empty()) begin.key = items.back().key + '\0';
    }
  }
  return false;
}

// ---- answers

Task<Result<AvailableReply>> AvailableRows::answer(AvailableRequest q) {
  AvailableReply reply;
  Place at = place(q.key.partition);
  reply.replica = at.self_in;
  WriteBatch batch;
  switch (q.verb) {
    case AvailableVerb::kRead: {
      CO_TRY(Known here, known(q.key, at));
      AvailableItem item;
      item.key = q.key.key;
      item.row = encode_available(here.row);
      if (!here.row.context.empty()) reply.items.push_back(std::move(item));
      break;
    }
    case AvailableVerb::kRange: {
      CO_TRY(reply.items, rows_here(q.key, q.end, q.limit, reply.cut));
      break;
    }
    case AvailableVerb::kMerge: {
      CO_TRY_STATUS(merge_here(q, batch));
      break;
    }
    case AvailableVerb::kPutAttachments:
      for (const Attachment& one : q.attachments)
        batch.put(attachment_store_key(q.key.partition, one.owner, one.suffix), one.value);
      break;
    case AvailableVerb::kReadAttachment: {
      if (q.attachments.empty()) co_return fail(ErrorCode::kInvalid, "no attachment is named");
      const Attachment& one = q.attachments[0];
      CO_TRY(auto stored, kv_.get(attachment_store_key(q.key.partition, one.owner, one.suffix)));
      if (stored) reply.text = std::move(stored->bytes);
      break;
    }
    case AvailableVerb::kSeal: {
      batch.put(seal_key(q.bucket), std::string(1, static_cast<char>(kFormat)));
      CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
      CO_TRY(reply.live, live_here(q.bucket));
      co_return reply;
    }
    case AvailableVerb::kUnseal: batch.erase(seal_key(q.bucket)); break;
    case AvailableVerb::kMutate:
    default: co_return fail(ErrorCode::kInvalid, "an unknown request: upgrade this node");
  }
  // What another node is told is durable here.
  if (batch.empty()) {
    CO_TRY_STATUS(co_await kv_.durable(kv_.visible_version()));
  } else {
    CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
  }
  co_return reply;
}

// A message that comes twice is one write: the second one, done after others had seen the first,
// would replace what they wrote.
Task<Result<std::string>> AvailableRows::serve_mutation(AvailableRequest request) {
  const TimePoint now = runtime_.clock.now();
  while (!served_order_.empty()) {
    auto oldest = served_.find(served_order_.front());
    bool keep = oldest->second->began + kServedFor > now && served_.size() < kServedMax;
    if (keep) break;
    served_.erase(oldest);
    served_order_.pop_front();
  }
  const TimePoint until = now + std::chrono::milliseconds(request.budget_ms);
  auto [at, fresh] = served_.try_emplace(request.operation);
  if (fresh) at->second = std::make_shared<Served>();
  ServedRef served = at->second;
  if (!fresh) {
    (void)co_await served->done.wait_until(runtime_.clock, until);
    if (!served->reply) co_return fail(ErrorCode::kTimeout, "the write is still under way");
    co_return *served->reply;
  }
  served->began = now;
  served_order_.push_back(request.operation);
  Mutation mutation;
  mutation.operation = request.operation;
  mutation.body = std::move(request.body);
  mutation.attachments = std::move(request.attachments);
  served->reply = co_await coordinate(std::move(request.key), std::move(mutation), until);
  served->done.set();
  co_return *served->reply;
}

Task<Result<PeerMessage>> AvailableRows::serve(NodeId from, PeerMessage message) {
  CO_TRY(AvailableRequest request, decode_available_request(message.head));
  suspects_.erase(from);
  if (!topology_.layout()) co_return fail(ErrorCode::kUnavailable, "this node has no layout yet");
  if (scope_.stop_requested()) co_return fail(ErrorCode::kUnavailable, "this node is stopping");
  AvailableReply reply;
  if (request.verb == AvailableVerb::kMutate) {
    if (!place(request.key.partition).self_in)
      co_return fail(ErrorCode::kUnavailable, "this node is no replica of the partition");
    CO_TRY(reply.text, co_await serve_mutation(std::move(request)));
  } else {
    CO_TRY(reply, co_await answer(std::move(request)));
  }
  PeerMessage out;
  out.head = encode_available_reply(reply);
  co_return out;
}

}  // namespace covey
