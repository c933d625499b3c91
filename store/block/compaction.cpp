// Compaction: a sealed segment that is mostly garbage is rewritten and removed. The live records
// are durable elsewhere, and the index says so, before the old file goes.
#include <algorithm>

#include "base/core/log.h"
#include "store/block/segment_store.h"

namespace covey {

namespace {

// Of a segment's records this part must be garbage; a full disk has room for smaller gains.
constexpr uint64_t kGarbageShare = 2, kGarbageShareTight = 16;

}  // namespace

// The sealed segment with the most garbage that is worth its rewriting; 0: none.
uint64_t SegmentStore::most_garbage() const {
  uint64_t worst = 0, worst_dead = 0;
  uint64_t share = tight_ ? kGarbageShareTight : kGarbageShare;
  for (const auto& [id, segment] : segments_) {
    // One without any record that is no garbage but damaged stays for inspection.
    bool empty = segment.used == 0 && segment.end == kSegmentHeaderBytes;
    bool worth =
        segment.sealed && (segment.used == 0 ? empty : segment.dead * share >= segment.used);
    if (worth && segment.dead >= worst_dead) worst = id, worst_dead = segment.dead;
  }
  return worst;
}

Task<Result<bool>> SegmentStore::compact_one() {
  if (compacting_ || failed_) co_return false;
  uint64_t worst = most_garbage();
  if (worst == 0) co_return false;
  compacting_ = true;
  size_t dir = segments_.at(worst).dir;
  Status done;
  if (segments_.at(worst).dead < segments_.at(worst).used) {
    auto file = co_await this->file(worst);
    if (file) {
      done = co_await move_live(worst, **file);
    } else {
      done = tl::unexpected<Error>(std::move(file).error());
    }
  }
  if (done) done = co_await remove_segment(worst);
  if (done) {
    // Paid back at once: the next move may need it. Puts wait for it anyway.
    Status restored = co_await ballast_.restore(dir);
    if (!restored)
      log_debug("{}: no ballast yet: {}", options_.dirs[dir], restored.error().message);
    full_until_ = TimePoint();
  }
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
    BlockKey key{head->home, head->id};
    CO_TRY(std::optional<Place> place, find(key));
    if (!place || place->segment != segment || place->start != start) continue;
    auto record = co_await read_record(key);
    if (record.is(ErrorCode::kCorrupt)) continue;  // set aside; a peer's copy comes instead
    CO_TRY(auto live, std::move(record));
    // put() would find the block there already: write it as a new record.
    Pending pending{key, head->owner, std::move(live.second), {}, true, {}, {}};
    Status moved = co_await append(pending);
    if (moved.is(ErrorCode::kStale)) continue;  // dropped meanwhile
    CO_TRY_STATUS(std::move(moved));
    count_dead(key.home, *place);
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
