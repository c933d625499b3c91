#include "store/objects/reclaim.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "store/objects/keys.h"
#include "store/objects/manifest.h"

namespace covey {
namespace {

constexpr size_t kGarbagePerPass = 4096;

std::string garbage_end(uint64_t stamp) {
  std::string key = table_begin(TableId::kGarbage);
  Writer(key).u64_be(stamp);
  return key;
}

std::string attachments_of(PartitionId partition, std::string_view version) {
  std::string prefix = table_begin(TableId::kAttachments);
  Writer writer(prefix);
  writer.u16_be(static_cast<uint16_t>(partition));
  writer.raw(version);
  return prefix;
}

}  // namespace

Reclaimer::Reclaimer(Runtime runtime, Kv& kv, Registers& registers, Registers& available,
                     Blocks& blocks, const GarbageClock& clock, ReclaimSettings settings)
    : runtime_(runtime),
      kv_(kv),
      registers_(registers),
      available_(available),
      blocks_(blocks),
      clock_(clock),
      settings_(settings) {}

Task<void> Reclaimer::run(Scope& scope) {
  while (true) {
    bool go_on = co_await scope.sleep(runtime_.clock, settings_.pause);
    if (!go_on) co_return;
    auto done = co_await pass();
    if (!done) log_debug("reclaiming: {}", to_string(done.error()));
    Status swept = co_await sweep_uploads();
    if (swept) swept = co_await sweep_parts();
    if (!swept) log_debug("sweeping uploads: {}", to_string(swept.error()));
    manifest_ = {};
  }
}

Result<std::vector<Reclaimer::Garbage>> Reclaimer::old_garbage() const {
  std::vector<Garbage> found;
  auto rows =
      kv_.scan(table_begin(TableId::kGarbage), garbage_end(clock_.stamp_before(settings_.grace)));
  for (; rows->valid() && found.size() < kGarbagePerPass; rows->next()) {
    Garbage garbage;
    garbage.kv_key = std::string(rows->key());
    std::string_view value = rows->value();
    if (!garbage.row.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
      return fail(ErrorCode::kCorrupt, "a garbage row does not decode");
    }
    found.push_back(std::move(garbage));
  }
  TRY_STATUS(rows->status());
  return found;
}

Task<Result<size_t>> Reclaimer::pass() {
  CO_TRY(std::vector<Garbage> found, old_garbage());
  uint64_t before = progress_.reclaimed;
  progress_.waiting = 0;
  manifest_ = {};
  for (Garbage& garbage : found) {
    // One that cannot be judged now (no quorum, say) is met again in the next pass.
    Status settled = co_await settle(std::move(garbage));
    if (!settled) {
      ++progress_.waiting;
      log_debug("reclaiming one: {}", to_string(settled.error()));
      if (settled.is(ErrorCode::kUnavailable)) break;
    }
  }
  co_return progress_.reclaimed - before;
}

Task<Status> Reclaimer::settle(Garbage garbage) {
  Result<Verdict> verdict = Verdict::kForget;
  std::vector<rows::Extent> extents;
  std::string version;
  TableId table = static_cast<TableId>(garbage.row.table());
  if (is_heads(table)) {
    rows::HeadRow head;
    if (head.ParseFromString(garbage.row.row())) {
      version = head.version();
      verdict = co_await judge_head(garbage.row, head);
      if (verdict && *verdict == Verdict::kReclaim) {
        auto parts = co_await read_parts(rows_of(table), garbage.row.partition(), head,
                                         runtime_.clock.after(kStep));
        // Chunks that are gone everywhere: another pass did this already.
        if (!parts && !parts.is(ErrorCode::kNoSuchKey))
          co_return tl::unexpected<Error>(std::move(parts).error());
        if (parts) {
          for (const auto& part : *parts) {
            for (const auto& extent : part.extents()) extents.push_back(extent);
          }
        }
      }
    }
  } else {
    rows::PartRow part;
    if (part.ParseFromString(garbage.row.row())) {
      version = part.version();
      verdict = co_await judge_part(garbage.row, part);
      extents = extents_of(part);
    }
  }
  CO_TRY(Verdict what, std::move(verdict));
  WriteBatch batch;
  batch.erase(garbage.kv_key);
  if (what == Verdict::kWait) {  // to the end of the queue
    ++progress_.waiting;
    std::string again = table_begin(TableId::kGarbage);
    Writer writer(again);
    writer.u64_be(clock_.stamp());
    writer.raw(version);
    batch.put(std::move(again), garbage.row.SerializeAsString());
  } else if (what == Verdict::kReclaim) {
    CO_TRY_STATUS(co_await release(std::move(extents)));
    std::string prefix = attachments_of(garbage.row.partition(), version);
    auto rows = kv_.scan(prefix, prefix_end(prefix));
    for (; rows->valid(); rows->next()) batch.erase(std::string(rows->key()));
    rows.reset();
    ++progress_.reclaimed;
  }
  batch.use_reserve();
  co_return co_await kv_.write(std::move(batch));
}

Task<Result<Reclaimer::Verdict>> Reclaimer::judge_head(rows::GarbageRow garbage,
                                                       rows::HeadRow head) {
  RegisterKey key{static_cast<TableId>(garbage.table()), garbage.partition(), garbage.key()};
  bool joined = is_available(key.table);
  CO_TRY(Registers::LocalState now, rows_of(key.table).local(key));
  if (now.row && joined) {
    CO_TRY(AvailableRow row, decode_available(*now.row));
    for (const Sibling& one : row.siblings)
      if (one.version.view() == head.version()) co_return Verdict::kForget;  // another site kept it
  } else if (now.row) {
    rows::HeadRow current;
    if (!current.ParseFromString(*now.row))
      co_return fail(ErrorCode::kCorrupt, "a head row does not decode");
    if (current.version() == head.version()) co_return Verdict::kForget;  // it came back
  }
  if (!now.committed && !SEEDED_BUG("objects-reclaim-uncommitted")) {
    // Nobody may have asked for this key since: a read settles what was left uncommitted.
    auto read = co_await registers_.read(key, false, Fence{}, runtime_.clock.after(kStep));
    if (!read) co_return tl::unexpected<Error>(std::move(read).error());
    co_return Verdict::kWait;
  }
  CO_TRY(bool claimed,
         co_await referenced(garbage.partition(),
                             VersionId::from_bytes(head.version()).value_or(VersionId{})));
  co_return claimed ? Verdict::kWait : Verdict::kReclaim;
}

Task<Result<Reclaimer::Verdict>> Reclaimer::judge_part(rows::GarbageRow garbage,
                                                       rows::PartRow part) {
  bool joined = is_available(static_cast<TableId>(garbage.table()));
  // Sites that are cut off may complete what another one aborted: parts wait for the upload's end
  // and are kept until then (docs/adr/0005-available-buckets.md).
  RegisterKey key{static_cast<TableId>(garbage.table()), garbage.partition(), garbage.key()};
  Registers& rows = rows_of(key.table);
  CO_TRY(Registers::LocalState now, rows.local(key));
  if (now.row && joined) {
    CO_TRY(AvailableRow row, decode_available(*now.row));
    for (const Sibling& one : row.siblings) {
      rows::PartRow current;
      if (current.ParseFromString(one.row) && current.version() == part.version())
        co_return Verdict::kForget;
    }
  } else if (now.row) {
    rows::PartRow current;
    if (!current.ParseFromString(*now.row))
      co_return fail(ErrorCode::kCorrupt, "a part row does not decode");
    if (current.version() == part.version()) co_return Verdict::kForget;
  }
  RegisterKey upload_key{joined ? TableId::kAvailableUploads : TableId::kUploads,
                         garbage.partition(), part.upload()};
  CO_TRY(ReadResult read,
         co_await rows.read(upload_key, false, Fence{}, runtime_.clock.after(kStep)));
  rows::UploadRow upload;
  // An upload that is no more cannot say whether its object uses the part, and rows here may be
  // old: if none anywhere names the blocks they are orphans (docs/adr/0003-orphans.md).
  if (!read.row) co_return joined ? Verdict::kWait : Verdict::kForget;
  if (!upload.ParseFromString(*read.row))
    co_return fail(ErrorCode::kCorrupt, "an upload row does not decode");
  if (joined && upload.state() != rows::UploadRow::COMPLETED) co_return Verdict::kWait;
  co_return co_await judge_ended(std::move(upload_key), std::move(upload), part.version());
}

Task<Result<bool>> Reclaimer::referenced(PartitionId partition, VersionId owner) {
  RangeQuery query;
  query.table = TableId::kBlockRefs;
  query.partition = partition;
  query.begin = std::string(owner.view());
  query.end = prefix_end(query.begin);
  query.limit = 1;
  while (true) {
    CO_TRY(RangePage page, co_await registers_.range(query, runtime_.clock.after(kStep)));
    if (!page.items.empty()) co_return true;
    if (!page.truncated) co_return false;
    query.begin = std::move(page.next);
  }
}

Task<Status> Reclaimer::release(std::vector<rows::Extent> extents) {
  std::set<std::pair<PartitionId, std::string>> owned;
  std::set<std::tuple<uint32_t, std::string, std::string>> claims;
  for (const auto& extent : extents) {
    if (!extent.inline_body().empty()) continue;
    if (extent.owner().empty()) {
      owned.emplace(extent.home(), extent.version());
    } else {
      claims.emplace(extent.owner_partition(), extent.owner(), extent.holder());
    }
  }
  for (const auto& [partition, owner, holder] : claims) {
    RegisterKey key = block_ref_key(partition, VersionId::from_bytes(owner).value_or(VersionId{}),
                                    VersionId::from_bytes(holder).value_or(VersionId{}));
    Mutation mutation;
    mutation.operation = runtime_.rng.id<OperationId>();
    mutation.body = "bd";
    auto gone = co_await registers_.mutate(std::move(key), std::move(mutation),
                                           runtime_.clock.after(kStep));
    if (!gone) co_return tl::unexpected<Error>(std::move(gone).error());
  }
  for (const auto& [home, version] : owned) {
    CO_TRY_STATUS(
        co_await blocks_.drop_local(home, VersionId::from_bytes(version).value_or(VersionId{})));
  }
  co_return Status();
}

}  // namespace covey
