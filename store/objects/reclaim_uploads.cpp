// Reclaimer: uploads that ended, or that nobody finished, and their parts.
#include <algorithm>
#include <chrono>

#include "base/core/codec.h"
#include "store/objects/keys.h"
#include "store/objects/manifest.h"
#include "store/objects/reclaim.h"
#include "store/register/entry.h"

namespace covey {
namespace {

constexpr size_t kUploadsPerPass = 4096;
// A write that was under way when its upload was given up has come through or failed by then.
constexpr std::chrono::milliseconds kLateHead = std::chrono::seconds(15);

}  // namespace

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

Task<Status> Reclaimer::sweep_uploads() {
  std::vector<RegisterKey> keys;
  std::string prefix = table_begin(TableId::kUploads);
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
  std::string prefix = table_begin(TableId::kParts);
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
        CO_TRY_STATUS(co_await release(extents_of(part)));
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
  std::string table = table_begin(TableId::kParts);
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
