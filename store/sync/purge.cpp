#include "store/sync/purge.h"

#include <set>

#include "proto/rows.pb.h"
#include "store/available/hint_rows.h"
#include "store/meta/keyspace.h"
#include "store/register/entry.h"
#include "store/register/walk.h"

namespace covey {

namespace {

constexpr size_t kPurgeBatchRows = 1000;
constexpr TableId kTables[] = {TableId::kHeads,
                               TableId::kUploads,
                               TableId::kParts,
                               TableId::kBuckets,
                               TableId::kBlockRefs,
                               TableId::kAvailableHeads,
                               TableId::kAvailableUploads,
                               TableId::kAvailableParts,
                               TableId::kActors,
                               TableId::kFences,
                               TableId::kAttachments,
                               TableId::kPartitions};

// Which attachments a joined row needs; the owner of each is a version.
void add_owners(TableId table, const AvailableRow& row, std::set<VersionId>& owners) {
  for (const Sibling& one : row.siblings) {
    if (one.version != VersionId{}) owners.insert(one.version);
    rows::UploadRow upload;
    rows::HeadRow head;
    if (table != TableId::kAvailableUploads || !upload.ParseFromString(one.row) ||
        !head.ParseFromString(upload.head()))
      continue;
    if (auto version = VersionId::from_bytes(head.version())) owners.insert(*version);
  }
}

// This node may have taken writes to available buckets that nobody else has: it was cut off while
// the layout changed. Its rows become hints, which are handed over and then forgotten. Returns
// whose attachments have to stay with them.
Task<Result<std::set<VersionId>>> keep_as_hints(Kv& kv, PartitionId partition,
                                                std::function<bool()> go_on) {
  std::set<VersionId> owners;
  for (TableId table :
       {TableId::kAvailableHeads, TableId::kAvailableUploads, TableId::kAvailableParts}) {
    std::string behind = hint_prefix(table, partition), end = behind_prefix(behind);
    {
      auto hints = kv.scan(behind, end);
      for (; hints->valid(); hints->next()) {
        CO_TRY(Hint hint, decode_hint(hints->value()));
        add_owners(table, hint.row, owners);
      }
      CO_TRY_STATUS(hints->status());
    }
    const std::string begin = register_store_prefix(table, partition);
    bool more = true;
    while (more) {
      WriteBatch batch;
      std::vector<std::pair<std::string, std::string>> found;
      {
        auto rows = kv.scan(begin, behind_prefix(begin));
        for (; rows->valid() && found.size() < kPurgeBatchRows; rows->next())
          found.emplace_back(rows->key(), rows->value());
        CO_TRY_STATUS(rows->status());
        more = rows->valid();
      }
      for (auto& [key, value] : found) {
        CO_TRY(EntryView entry, view_entry(value));
        Hint hint;
        CO_TRY(hint.row, decode_available(entry.row));
        RegisterKey row_key{table, partition, key.substr(begin.size())};
        std::string kept_key = hint_key(row_key);
        CO_TRY(auto kept, kv.get(kept_key));
        if (kept) {
          CO_TRY(Hint before, decode_hint(kept->bytes));
          hint.row.join(before.row);
          hint.actor = before.actor;
        }
        add_owners(table, hint.row, owners);
        batch.put(std::move(kept_key), encode_hint(hint));
        batch.erase(std::move(key));
      }
      if (go_on && !go_on())
        co_return fail(ErrorCode::kCancelled, "this node is a replica of the partition again");
      if (!batch.empty()) {
        CO_TRY_STATUS(co_await kv.write(std::move(batch)));
      }
    }
  }
  co_return owners;
}

Task<Status> purge_garbage(Kv& kv, PartitionId partition, std::function<bool()> go_on) {
  std::string behind = table_begin(TableId::kGarbage);
  const std::string end = behind_prefix(behind);
  bool more = true;
  while (more) {
    WriteBatch batch;
    {
      auto rows = kv.scan(behind, end);
      size_t seen = 0;
      for (; rows->valid() && seen < kPurgeBatchRows; rows->next(), ++seen) {
        rows::GarbageRow garbage;
        std::string_view value = rows->value();
        behind = std::string(rows->key()) + '\0';
        if (garbage.ParseFromArray(value.data(), static_cast<int>(value.size())) &&
            garbage.partition() == partition)
          batch.erase(std::string(rows->key()));
      }
      CO_TRY_STATUS(rows->status());
      more = rows->valid();
    }
    if (go_on && !go_on())
      co_return fail(ErrorCode::kCancelled, "this node is a replica of the partition again");
    if (!batch.empty()) {
      CO_TRY_STATUS(co_await kv.write(std::move(batch)));
    }
  }
  co_return Status();
}

}  // namespace

Task<Status> purge_partition(Kv& kv, PartitionId partition, std::function<bool()> go_on) {
  CO_TRY(std::set<VersionId> kept, co_await keep_as_hints(kv, partition, go_on));
  for (TableId table : kTables) {
    std::string begin = register_store_prefix(table, partition);
    const size_t skip = begin.size();
    const std::string end = behind_prefix(begin);
    bool more = true;
    while (more) {
      WriteBatch batch;
      {
        auto rows = kv.scan(begin, end);
        size_t seen = 0;
        for (; rows->valid() && seen < kPurgeBatchRows; rows->next(), ++seen) {
          begin = std::string(rows->key()) + '\0';
          auto owner = VersionId::from_bytes(rows->key().substr(skip).substr(0, VersionId::kSize));
          bool stays = table == TableId::kAttachments && owner && kept.contains(*owner);
          if (!stays) batch.erase(std::string(rows->key()));
        }
        CO_TRY_STATUS(rows->status());
        more = rows->valid();
      }
      if (go_on && !go_on())
        co_return fail(ErrorCode::kCancelled, "this node is a replica of the partition again");
      if (!batch.empty()) {
        CO_TRY_STATUS(co_await kv.write(std::move(batch)));
      }
    }
  }
  co_return co_await purge_garbage(kv, partition, std::move(go_on));
}

Result<bool> partition_is_empty(Kv& kv, PartitionId partition) {
  for (TableId table : kTables) {
    const std::string begin = register_store_prefix(table, partition);
    auto rows = kv.scan(begin, behind_prefix(begin));
    if (rows->valid()) return false;
    TRY_STATUS(rows->status());
  }
  return true;
}

}  // namespace covey
