// Writing: group commit into the active segment, and where the next active segment comes from.
#include <algorithm>

#include "base/core/log.h"
#include "base/core/round.h"
#include "base/core/seeded_bug.h"
#include "store/block/segment_store.h"

namespace covey {
namespace {

constexpr size_t kGroupBytesMax = 16 * kMiB;
constexpr size_t kWaitingMax = 1024;
// After the disk was found full puts are refused at once for so long.
constexpr Duration kFullFor = std::chrono::seconds(1);

}  // namespace

Task<Status> SegmentStore::put(BlockKey key, BlockOwner owner, Blob payload, WriteBatch batch) {
  CHECK(payload.size() <= kBlockBytesMax);
  if (failed_) co_return fail(ErrorCode::kIo, "the disk failed");
  CO_TRY_STATUS(may_be_named(key.id.version));
  if (waiting_.size() >= kWaitingMax)
    co_return fail(ErrorCode::kOverloaded, "too many blocks wait for the disk");
  if (has(key)) {  // sent twice: it is on the disk already
    co_return batch.empty() ? Status() : kv_.write_unlogged(std::move(batch));
  }
  Pending pending{key, std::move(owner), std::move(payload), std::move(batch), false, {}, {}};
  co_return co_await append(pending);
}

// What compaction moves waits one at a time, beside the puts.
Level SegmentStore::waiting() const {
  return {"blocks_for_disk", waiting_.size(), kWaitingMax + 1};
}

Task<Status> SegmentStore::append(Pending& pending) {
  if (closed_) co_return fail(ErrorCode::kUnavailable, "this node stops: it takes no more blocks");
  waiting_.push_back(&pending);
  if (!writing_) {
    writing_ = true;
    scope_.spawn(write_groups());
  }
  co_await pending.done.wait();
  co_return std::move(pending.status);
}

// Puts and moves never share a group: they may use different space.
Task<void> SegmentStore::write_groups() {
  while (!waiting_.empty()) {
    std::vector<Pending*> group;
    size_t bytes = 0;
    bool move = waiting_.front()->move;
    while (!waiting_.empty() && waiting_.front()->move == move &&
           (group.empty() || bytes + waiting_.front()->payload.size() <= kGroupBytesMax)) {
      bytes += waiting_.front()->payload.size();
      group.push_back(waiting_.front());
      waiting_.pop_front();
    }
    co_await write_group(std::move(group));
  }
  writing_ = false;
}

// One contiguous write and one sync for the records of a group that fit into the active segment;
// the rest go to the next. A large one is aligned, so that the disk can take it directly.
Task<void> SegmentStore::write_group(std::vector<Pending*> group) {
  size_t next = 0;
  while (next < group.size()) {
    Status ready = fail(ErrorCode::kIo, "the disk failed");
    // After a failed sync nobody knows what the next one would say.
    if (!failed_) ready = co_await ready_segment(group[next]->payload.size(), group[next]->move);
    if (!ready) {
      for (; next < group.size(); ++next) {
        group[next]->status = ready;
        group[next]->done.set();
      }
      co_return;
    }
    size_t bytes = 0;
    for (size_t i = next; i < group.size(); ++i) bytes += group[i]->payload.size();
    bool large = bytes >= options_.align_from_bytes;
    uint64_t begin = segments_.at(active_).end;
    if (large) begin = round_up(begin, kDirectAlign);
    uint64_t end = begin;
    std::vector<Blob> pieces;
    std::vector<Place> places;
    size_t first = next;
    for (; next < group.size(); ++next) {
      Pending& p = *group[next];
      RecordHead head = make_record(active_, p.key.id, p.owner, p.key.home, p.payload.view());
      if (next > first && head.end_of(end) > options_.segment_bytes) break;
      std::string encoded = encode_record_head(head);
      places.push_back({active_, static_cast<uint32_t>(end), static_cast<uint32_t>(encoded.size()),
                        head.payload_bytes});
      uint64_t padding = head.end_of(end) - end - encoded.size() - p.payload.size();
      pieces.push_back(Blob::own(std::move(encoded)));
      pieces.push_back(p.payload);
      if (padding > 0) pieces.push_back(Blob::own(std::string(padding, '\0')));
      end = head.end_of(end);
    }
    if (uint64_t rest = large ? round_up(end, kDirectAlign) - end : 0; rest > 0) {
      pieces.push_back(Blob::own(std::string(rest, '\0')));
      end += rest;
    }
    std::shared_ptr<File> file = active_file_;
    Status written;
    bool unsynced = SEEDED_BUG("block-ack-before-sync") ||
                    (group[first]->move && SEEDED_BUG("block-unlinked-before-moved"));
    if (unsynced) {
      written = co_await file->write(begin, std::move(pieces));
    } else {
      written = co_await file->write_sync(begin, std::move(pieces));
    }
    if (written.is(ErrorCode::kNoSpace)) {  // a file system that cannot preallocate
      full_until_ = runtime_.clock.after(kFullFor);
      co_await seal();
    } else if (!written) {
      disk_failed(written.error());
    } else {
      segments_.at(active_).end = end;
    }
    for (size_t i = first; i < next; ++i) {
      group[i]->status = written ? written_at(*group[i], places[i - first]) : written;
    }
    for (size_t i = first; i < next; ++i) group[i]->done.set();
  }
}

// Of a version that is refused only until its judge says more the blocks are kept.
Status SegmentStore::still_here(const BlockKey& key) {
  TRY(std::optional<Place> place, find(key));
  if (!place) return fail(ErrorCode::kStale, "the block was dropped");
  return {};
}

// The record is durable: from now on it is found.
Status SegmentStore::written_at(Pending& pending, const Place& place) {
  Segment& segment = segments_.at(place.segment);
  segment.used += place.record_bytes();
  segment.written = runtime_.clock.now();
  Status named = pending.move ? still_here(pending.key) : may_be_named(pending.key.id.version);
  if (!named) {  // dropped while it was written
    segment.dead += place.record_bytes();
    dead_bytes_ += place.record_bytes();
    // Recovery may look at it again: the next record remembers the position.
    return named;
  }
  // Two may have brought the block at the same time: the record of the first is garbage now. (What
  // compaction moves it counts itself.)
  auto before = find(pending.key);
  if (!pending.move && before && *before && segments_.contains((*before)->segment))
    count_dead(pending.key.home, **before);
  count_live(pending.key.home, place);
  remember(pending.batch, pending.key, place);
  remember(pending.batch, place.segment);
  return kv_.write_unlogged(std::move(pending.batch));
}

void SegmentStore::disk_failed(const Error& error) {
  if (failed_) return;
  failed_ = true;
  options_.fatal(error);
}

// Makes sure that the active segment has room for a record, and that whoever writes it may use that
// room. Errors: kNoSpace, kIo.
Task<Status> SegmentStore::ready_segment(size_t payload_bytes, bool move) {
  if (!move && runtime_.clock.now() < full_until_)
    co_return fail(ErrorCode::kNoSpace, "the data directories are full: delete or add space");
  size_t needed = kDirectAlign + kRecordHeadBytesMax + payload_bytes + kRecordAlign;
  bool fits = active_ && segments_.at(active_).end + needed <= options_.segment_bytes;
  Status ready;
  if (!fits) {
    co_await seal();
    ready = co_await new_segment(move);
  } else if (!move) {  // what is left of a segment made of ballast is compaction's
    ready = co_await ballast_.restore(segments_.at(active_).dir);
  }
  if (ready.is(ErrorCode::kNoSpace)) {
    tight_ = true;
    if (!move) full_until_ = runtime_.clock.after(kFullFor);
  }
  if (ready.is(ErrorCode::kIo)) disk_failed(ready.error());
  co_return ready;
}

// Nothing more is appended to the active segment; what was reserved for it beyond its end is given
// back.
Task<void> SegmentStore::seal() {
  if (!active_) co_return;
  Segment& segment = segments_.at(active_);
  segment.sealed = true;
  active_ = 0;
  std::shared_ptr<File> file = std::move(active_file_);
  Status cut = co_await file->truncate(segment.end);
  if (!cut) log_warn("a finished segment keeps its unused space: {}", to_string(cut.error()));
}

// In the directory with the most room. A put leaves the ballast alone and needs it there.
Task<Status> SegmentStore::new_segment(bool move) {
  std::vector<std::pair<uint64_t, size_t>> dirs;  // free bytes, number
  for (size_t dir = 0; dir < options_.dirs.size(); ++dir) {
    auto space = co_await runtime_.disk.space(options_.dirs[dir]);
    dirs.emplace_back(space ? space->free_bytes : 0, dir);
  }
  std::sort(dirs.rbegin(), dirs.rend());
  Status made = fail(ErrorCode::kNoSpace, "there is no data directory");
  for (const auto& [free_bytes, dir] : dirs) {
    if (!move) {
      made = co_await ballast_.restore(dir);
      if (!made) continue;
    }
    made = co_await make_segment(dir, false);
    if (made) {
      if (!move) tight_ = false;
      co_return made;
    }
  }
  for (const auto& [free_bytes, dir] : dirs) {
    if (!move || !made.is(ErrorCode::kNoSpace) || !ballast_.has(dir)) continue;
    made = co_await make_segment(dir, true);
  }
  co_return made;
}

Task<Status> SegmentStore::make_segment(size_t dir, bool of_ballast) {
  uint64_t id = runtime_.rng.next() | 1;
  while (segments_.contains(id)) id = runtime_.rng.next() | 1;
  Segment segment;
  segment.dir = dir;
  segment.sealed = false;
  segments_[id] = segment;
  std::string final_path = path(id), folder = options_.dirs[dir] + "/segments";
  std::string new_path = final_path + ".new";
  Status done;
  if (of_ballast) done = co_await ballast_.take(dir, new_path);
  Disk::Open mode = of_ballast ? Disk::Open::kReadWrite : Disk::Open::kCreate;
  Result<std::unique_ptr<File>> file = fail(ErrorCode::kNoSpace);
  if (done) file = co_await runtime_.disk.open(new_path, mode);
  if (done && !file) done = tl::unexpected<Error>(file.error());
  std::vector<Blob> header;
  header.push_back(Blob::own(encode_segment_header(id)));
  if (done) done = co_await (*file)->allocate(options_.segment_bytes);
  if (done) done = co_await (*file)->write_sync(0, std::move(header));
  if (done) done = co_await runtime_.disk.rename(new_path, final_path);
  if (done && !SEEDED_BUG("block-dir-unsynced")) done = co_await runtime_.disk.sync_dir(folder);
  if (!done) {
    segments_.erase(id);
    if (file) file->reset();
    Status removed = co_await runtime_.disk.remove(new_path);
    if (!removed) log_debug("{} stays: {}", new_path, to_string(removed.error()));
    co_return done;
  }
  active_ = id;
  active_file_ = std::move(*file);
  open_files_.emplace_front(id, active_file_);
  co_return Status();
}

}  // namespace covey
