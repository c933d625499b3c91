// Compaction: a sealed segment that is mostly garbage is rewritten and removed. The live records
// are durable elsewhere, and the index says so, before the old file goes.
#include <algorithm>

#include "base/core/log.h"
#include "store/block/segment_store.h"

namespace covey {

Task<Result<bool>> SegmentStore::compact_one() {
  if (compacting_ || failed_) co_return false;
  uint64_t worst = 0, worst_dead = 0;
  for (const auto& [id, segment] : segments_) {
    bool mostly_dead =
        segment.sealed && segment.dead * 2 >= segment.used && segment.end > kSegmentHeaderBytes;
    if (mostly_dead && segment.dead >= worst_dead) worst = id, worst_dead = segment.dead;
  }
  if (worst == 0) co_return false;
  compacting_ = true;
  Result<std::shared_ptr<File>> file = co_await this->file(worst);
  Status done = file ? Status() : Status(tl::unexpected<Error>(file.error()));
  if (done && segments_.at(worst).dead < segments_.at(worst).used)
    done = co_await move_live(worst, **file);
  if (file) file->reset();
  if (done) done = co_await remove_segment(worst);
  compacting_ = false;
  if (!done) co_return tl::unexpected<Error>(std::move(done).error());
  co_return true;
}

// Walks the records and appends those that the index still finds here.
Task<Status> SegmentStore::move_live(uint64_t segment, File& file) {
  uint64_t at = kSegmentHeaderBytes;
  while (at + kRecordFixedBytes < file.size()) {
    CO_TRY(Blob bytes, co_await file.read(at, kRecordHeadBytesMax));
    auto head = decode_record_head(bytes.view(), segment);
    if (!head) {
      at += kRecordAlign;
      continue;
    }
    uint64_t start = at;
    at = head->end_of(start);
    CO_TRY(std::optional<Place> place, find(head->id));
    if (!place || place->segment != segment || place->start != start) continue;
    auto stored = co_await get(head->id, 0, head->payload_bytes);
    if (stored.is(ErrorCode::kCorrupt)) continue;  // set aside; a peer's copy comes instead
    CO_TRY(Stored live, std::move(stored));
    // put() would find the block there already: write it as a new record.
    Pending pending{head->id, head->owner, head->home, std::move(live.bytes), {}, {}, {}};
    waiting_.push_back(&pending);
    if (!writing_) {
      writing_ = true;
      scope_.spawn(write_groups());
    }
    co_await pending.done.wait();
    CO_TRY_STATUS(std::move(pending.status));
    Segment& old = segments_.at(segment);
    old.dead += place->record_bytes();
    dead_bytes_ += place->record_bytes();
    live_bytes_ -= std::min(live_bytes_, place->record_bytes());
  }
  co_return Status();
}

Task<Status> SegmentStore::remove_segment(uint64_t segment) {
  std::string file_path = path(segment),
              folder = options_.dirs[segments_.at(segment).dir] + "/segments";
  dead_bytes_ -= std::min(dead_bytes_, segments_.at(segment).dead);
  segments_.erase(segment);
  open_files_.remove_if([&](const auto& open) { return open.first == segment; });
  WriteBatch batch;
  batch.erase(segment_key(segment));
  CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
  CO_TRY_STATUS(co_await runtime_.disk.remove(file_path));
  CO_TRY_STATUS(co_await runtime_.disk.sync_dir(folder));
  log_debug("removed {}", file_path);
  co_return Status();
}

}  // namespace covey
