#include "store/objects/reclaim.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "store/objects/keys.h"
#include "store/objects/manifest.h"
#include "store/register/entry.h"

namespace covey {
namespace {

constexpr size_t kGarbagePerPass = 4096;
constexpr size_t kUploadsPerPass = 4096;
constexpr Duration kStep = std::chrono::seconds(4);
// A write that was under way when its upload was given up has come through or failed by then.
constexpr std::chrono::milliseconds kLateHead = std::chrono::seconds(15);

std::string table_prefix(TableId table) { return std::string(1, static_cast<char>(table)); }

std::string garbage_end(uint64_t stamp) {
  std::string key = table_prefix(TableId::kGarbage);
  Writer(key).u64_be(stamp);
  return key;
}

std::string attachments_of(PartitionId partition, std::string_view version) {
  std::string prefix = table_prefix(TableId::kAttachments);
  Writer writer(prefix);
  writer.u16_be(static_cast<uint16_t>(partition));
  writer.raw(version);
  return prefix;
}

std::vector<rows::Extent> extents_of(const rows::ManifestPart& part) {
  return {part.extents().begin(), part.extents().end()};
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
      kv_.scan(table_prefix(TableId::kGarbage), garbage_end(clock_.stamp_before(settings_.grace)));
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
      extents = extents_of(part.part());
    }
  }
  CO_TRY(Verdict what, std::move(verdict));
  WriteBatch batch;
  batch.erase(garbage.kv_key);
  if (what == Verdict::kWait) {  // to the end of the queue
    ++progress_.waiting;
    std::string again = table_prefix(TableId::kGarbage);
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

Task<Result<Reclaimer::Verdict>> Reclaimer::judge_ended(RegisterKey upload_key,
                                                        rows::UploadRow upload,
                                                        std::string part_version) {
  if (upload.state() == rows::UploadRow::COMPLETING) co_return Verdict::kWait;
  rows::HeadRow head;  // that was to be written
  if (!head.ParseFromString(upload.head()))
    co_return fail(ErrorCode::kCorrupt, "a stored head does not decode");
  if (head.version().empty()) co_return Verdict::kReclaim;  // nobody ever tried to complete it
  Registers& rows = rows_of(upload_key.table);
  CO_TRY(bool mine, co_await named(rows, upload_key.partition, head, std::move(part_version)));
  if (!mine) co_return Verdict::kReclaim;
  if (upload.state() == rows::UploadRow::COMPLETED) co_return Verdict::kForget;
  // Given up because nobody could know whether its head had stood in between (complete.cpp). It may
  // have, and been copied; a last attempt to write it may even have won.
  if (runtime_.clock.wall_now().ms - upload.ended_ms() < kLateHead.count())
    co_return Verdict::kWait;
  RegisterKey key{TableId::kHeads, upload_key.partition,
                  upload_key.key.substr(0, kShardPrefixBytes) + upload.key()};
  CO_TRY(ReadResult read,
         co_await rows.read(std::move(key), false, Fence{}, runtime_.clock.after(kStep)));
  rows::HeadRow now;
  if (read.row && !now.ParseFromString(*read.row))
    co_return fail(ErrorCode::kCorrupt, "a head row does not decode");
  if (read.row && now.version() == head.version()) co_return Verdict::kForget;
  // Looked at last: who claims it later looks at the source after that, and does not find it.
  CO_TRY(bool claimed,
         co_await referenced(upload_key.partition,
                             VersionId::from_bytes(head.version()).value_or(VersionId{})));
  co_return claimed ? Verdict::kWait : Verdict::kReclaim;
}

Task<Result<bool>> Reclaimer::named(Registers& from, PartitionId partition, rows::HeadRow head,
                                    std::string part_version) {
  if (manifest_.of != head.version()) {  // what a version's manifest says never changes
    auto parts = co_await read_parts(from, partition, head, runtime_.clock.after(kStep));
    Manifest read;
    read.of = head.version();
    read.gone = parts.is(ErrorCode::kNoSuchKey);
    if (!parts && !read.gone) co_return tl::unexpected<Error>(std::move(parts).error());
    for (size_t i = 0; !read.gone && i < parts->size(); ++i) {
      for (const auto& extent : (*parts)[i].extents()) {
        read.names.insert(extent.version());
        read.names.insert(extent.holder());
      }
    }
    manifest_ = std::move(read);
  }
  // Where the object is gone every part it used is gone with it.
  co_return manifest_.gone || manifest_.names.contains(part_version);
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

Task<Status> Reclaimer::sweep_uploads() {
  std::vector<RegisterKey> keys;
  std::string prefix = table_prefix(TableId::kUploads);
  auto rows = kv_.scan(std::max(prefix, next_upload_), prefix_end(prefix));
  for (; rows->valid() && keys.size() < kUploadsPerPass; rows->next()) {
    Reader reader(rows->key());
    reader.u8();
    PartitionId partition = reader.u16_be();
    keys.push_back({TableId::kUploads, partition, std::string(reader.rest())});
  }
  CO_TRY_STATUS(rows->status());
  next_upload_ = rows->valid() ? std::string(rows->key()) : std::string();
  rows.reset();
  for (RegisterKey& key : keys) {
    CO_TRY(Registers::LocalState state, registers_.local(key));
    rows::UploadRow upload;
    if (!state.row || !upload.ParseFromString(*state.row)) continue;
    if (upload.ended_ms() != 0 && !state.committed) {  // it may have ended in another way
      auto settled = co_await registers_.read(key, false, Fence{}, runtime_.clock.after(kStep));
      if (!settled) co_return tl::unexpected<Error>(std::move(settled).error());
      continue;
    }
    CO_TRY_STATUS(co_await sweep_upload(std::move(key), std::move(upload)));
  }
  co_return Status();
}

Task<Status> Reclaimer::abort(RegisterKey key, rows::UploadRow upload) {
  rows::UploadMutation want;
  want.add_expect(upload.state());
  want.set_expect_claim(upload.claim());
  *want.mutable_row() = std::move(upload);
  want.mutable_row()->set_state(rows::UploadRow::ABORTED);
  want.mutable_row()->set_ended_ms(runtime_.clock.wall_now().ms);
  want.mutable_row()->clear_claim();
  Mutation mutation;
  mutation.operation = runtime_.rng.id<OperationId>();
  mutation.body = encode_mutation(false, want);
  auto aborted =
      co_await registers_.mutate(std::move(key), std::move(mutation), runtime_.clock.after(kStep));
  if (!aborted && !aborted.is(ErrorCode::kPreconditionFailed))
    co_return tl::unexpected<Error>(std::move(aborted).error());
  co_return Status();
}

Task<Status> Reclaimer::sweep_upload(RegisterKey key, rows::UploadRow upload) {
  auto ms = [](Duration d) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
  };
  int64_t now = runtime_.clock.wall_now().ms;
  if (upload.ended_ms() == 0) {
    // A Complete that broke off is not finished here: it may, for ever, have written its head or
    // not. What became of its parts judge_ended finds out.
    int64_t used = std::max(upload.started_ms(), upload.claimed_ms());
    if (now - used < ms(settings_.upload_expiry)) co_return Status();
    co_return co_await abort(std::move(key), std::move(upload));
  }
  if (now - upload.ended_ms() < ms(settings_.grace)) co_return Status();
  // Part rows of an ended upload are dead: nobody reads them again, so they need no tombstones.
  std::vector<std::pair<std::string, RegisterKey>> parts;
  std::string prefix = table_prefix(TableId::kParts);
  Writer(prefix).u16_be(static_cast<uint16_t>(key.partition));
  size_t skip = prefix.size();
  prefix += upload.id();
  auto rows = kv_.scan(prefix, prefix_end(prefix));
  for (; rows->valid(); rows->next()) {
    parts.emplace_back(
        std::string(rows->key()),
        RegisterKey{TableId::kParts, key.partition, std::string(rows->key().substr(skip))});
  }
  rows.reset();
  bool waits = false;
  for (auto& [kv_key, part_key] : parts) {
    CO_TRY(Registers::LocalState state, registers_.local(part_key));
    rows::PartRow part;
    if (state.row && part.ParseFromString(*state.row)) {
      CO_TRY(Verdict verdict, co_await judge_ended(key, upload, part.version()));
      if (verdict == Verdict::kWait) {
        waits = true;
        continue;
      }
      if (verdict == Verdict::kReclaim) {
        CO_TRY_STATUS(co_await release(extents_of(part.part())));
      }
    }
    WriteBatch batch;
    batch.erase(std::move(kv_key));
    CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
  }
  if (waits || now - upload.ended_ms() < ms(settings_.upload_memory)) co_return Status();
  rows::UploadMutation want;
  want.add_expect(upload.state());
  want.set_remove(true);
  Mutation mutation;
  mutation.operation = runtime_.rng.id<OperationId>();
  mutation.body = encode_mutation(false, want);
  auto removed =
      co_await registers_.mutate(std::move(key), std::move(mutation), runtime_.clock.after(kStep));
  if (!removed && !removed.is(ErrorCode::kPreconditionFailed) &&
      !removed.is(ErrorCode::kNoSuchUpload)) {
    co_return tl::unexpected<Error>(std::move(removed).error());
  }
  co_return Status();
}

// Of a replica that was away while the upload ended and its row went.
Task<Status> Reclaimer::sweep_parts() {
  std::string table = table_prefix(TableId::kParts);
  std::vector<RegisterKey> firsts;  // one part of each upload
  while (firsts.size() < kUploadsPerPass) {
    auto rows = kv_.scan(std::max(table, next_part_), prefix_end(table));
    CO_TRY_STATUS(rows->status());
    if (!rows->valid()) {
      next_part_.clear();
      break;
    }
    Reader reader(rows->key());
    reader.u8();
    PartitionId partition = reader.u16_be();
    std::string upload(reader.raw(UploadId::kSize));
    firsts.push_back({TableId::kParts, partition, upload + std::string(reader.rest())});
    next_part_ = prefix_end(register_store_prefix(TableId::kParts, partition) + upload);
  }
  for (RegisterKey& first : firsts) {
    CO_TRY(Registers::LocalState state, registers_.local(first));
    rows::PartRow part;
    if (!state.row || !part.ParseFromString(*state.row)) continue;
    RegisterKey upload{TableId::kUploads, first.partition, part.upload()};
    CO_TRY(Registers::LocalState known, registers_.local(upload));
    if (known.row) continue;
    CO_TRY(ReadResult read, co_await registers_.read(std::move(upload), false, Fence{},
                                                     runtime_.clock.after(kStep)));
    if (read.row) continue;
    // Their blocks go as orphans, unless the object has them (docs/adr/0003-orphans.md).
    std::string prefix = register_store_prefix(TableId::kParts, first.partition) +
                         first.key.substr(0, UploadId::kSize);
    WriteBatch batch;
    auto rows = kv_.scan(prefix, prefix_end(prefix));
    for (; rows->valid(); rows->next()) batch.erase(std::string(rows->key()));
    rows.reset();
    batch.use_reserve();
    CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
  }
  co_return Status();
}

}  // namespace covey
