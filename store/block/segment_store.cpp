#include "store/block/segment_store.h"

#include <algorithm>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "store/meta/keyspace.h"

namespace covey {
namespace {

constexpr size_t kGroupBytesMax = 16 * kMiB;
constexpr size_t kWaitingMax = 1024;
constexpr size_t kOpenFilesMax = 128;
constexpr size_t kReadNowBytesMax = 64 * kKiB;

std::string refused_key(const VersionId& version) {
  return std::string(1, static_cast<char>(TableId::kRefused)).append(version.view());
}

}  // namespace

SegmentStore::SegmentStore(SegmentOptions options, Runtime runtime, Kv& kv)
    : options_(std::move(options)), runtime_(runtime), kv_(kv) {}

SegmentStore::~SegmentStore() { CHECK(!writing_); }

Task<void> SegmentStore::close() {
  scope_.request_stop();
  co_await scope_.join();
  open_files_.clear();
  active_file_.reset();
}

std::string SegmentStore::path(uint64_t segment) const {
  std::string name;
  Writer(name).u64_be(segment);
  return options_.dirs[segments_.at(segment).dir] + "/segments/" + hex_encode(name) + ".seg";
}

std::string SegmentStore::index_key(const BlockId& id) {
  std::string key(1, static_cast<char>(TableId::kBlockIndex));
  key.append(id.version.view());
  Writer(key).u32_be(id.index);
  return key;
}

std::string SegmentStore::segment_key(uint64_t segment) {
  std::string key(1, static_cast<char>(TableId::kSegments));
  Writer(key).u64_be(segment);
  return key;
}

Result<std::optional<SegmentStore::Place>> SegmentStore::find(const BlockId& id) {
  TRY(std::optional<KvValue> value, kv_.get(index_key(id)));
  if (!value) return std::optional<Place>();
  TRY(Place place, decode_place(value->bytes));
  return std::optional<Place>(place);
}

Result<SegmentStore::Place> SegmentStore::decode_place(std::string_view bytes) {
  Reader r(bytes);
  Place place;
  place.segment = r.u64();
  place.start = r.u32();
  place.head_bytes = r.u32();
  place.payload_bytes = r.u32();
  if (!r.done()) return fail(ErrorCode::kCorrupt, "a block's place does not decode");
  return place;
}

void SegmentStore::remember(WriteBatch& batch, const BlockId& id, const Place& place) {
  std::string value;
  Writer w(value);
  w.u64(place.segment);
  w.u32(place.start);
  w.u32(place.head_bytes);
  w.u32(place.payload_bytes);
  batch.put(index_key(id), std::move(value));
}

void SegmentStore::remember(WriteBatch& batch, uint64_t segment) {
  const Segment& s = segments_.at(segment);
  std::string value;
  Writer w(value);
  w.u64(s.end);
  w.u64(s.used);
  w.u64(s.dead);
  batch.put(segment_key(segment), std::move(value));
}

void SegmentStore::forget(WriteBatch& batch, const BlockId& id, const Place& place) {
  batch.erase(index_key(id));
  auto it = segments_.find(place.segment);
  if (it == segments_.end()) return;
  it->second.dead += place.record_bytes();
  live_bytes_ -= std::min(live_bytes_, place.record_bytes());
  dead_bytes_ += place.record_bytes();
}

Task<Status> SegmentStore::put(BlockId id, BlockOwner owner, PartitionId home, Blob payload,
                               WriteBatch batch) {
  CHECK(payload.size() <= kBlockBytesMax);
  if (failed_) co_return fail(ErrorCode::kIo, "the disk failed");
  if (refused(id.version))
    co_return fail(ErrorCode::kStale, "blocks of this version were reclaimed");
  if (waiting_.size() >= kWaitingMax)
    co_return fail(ErrorCode::kOverloaded, "too many blocks wait for the disk");
  if (has(id)) {  // sent twice: it is on the disk already
    co_return batch.empty() ? Status() : kv_.write_unlogged(std::move(batch));
  }
  Pending pending{id, std::move(owner), home, std::move(payload), std::move(batch), {}, {}};
  waiting_.push_back(&pending);
  if (!writing_) {
    writing_ = true;
    scope_.spawn(write_groups());
  }
  co_await pending.done.wait();
  co_return std::move(pending.status);
}

Task<void> SegmentStore::write_groups() {
  while (!waiting_.empty()) {
    std::vector<Pending*> group;
    size_t bytes = 0;
    while (!waiting_.empty() &&
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
// the rest go to the next.
Task<void> SegmentStore::write_group(std::vector<Pending*> group) {
  size_t next = 0;
  while (next < group.size()) {
    Status ready;
    uint64_t room = active_ ? options_.segment_bytes -
                                  std::min(options_.segment_bytes, segments_.at(active_).end)
                            : 0;
    if (room < kRecordHeadBytesMax + group[next]->payload.size() + kRecordAlign)
      ready = co_await new_segment();
    if (!ready) {
      for (; next < group.size(); ++next) {
        group[next]->status = ready;
        group[next]->done.set();
      }
      co_return;
    }
    Segment& segment = segments_.at(active_);
    uint64_t begin = segment.end, end = begin;
    std::vector<Blob> pieces;
    std::vector<Place> places;
    size_t first = next;
    for (; next < group.size(); ++next) {
      Pending& p = *group[next];
      RecordHead head = make_record(active_, p.id, p.owner, p.home, p.payload.view());
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
    std::shared_ptr<File> file = active_file_;
    Status written = co_await file->write_sync(begin, std::move(pieces));
    if (!written && !failed_) {
      failed_ = true;
      options_.fatal(written.error());
    }
    Segment& now = segments_.at(active_);
    if (written) now.end = end;
    for (size_t i = first; i < next; ++i) {
      Pending& p = *group[i];
      p.status = written;
      if (written) {
        const Place& place = places[i - first];
        now.used += place.record_bytes();
        if (refused(p.id.version)) {  // dropped while it was written
          now.dead += place.record_bytes();
          dead_bytes_ += place.record_bytes();
          p.status = fail(ErrorCode::kStale, "blocks of this version were reclaimed");
          continue;  // recovery may look at it again: the next record remembers the position
        }
        live_bytes_ += place.record_bytes();
        remember(p.batch, p.id, place);
        remember(p.batch, place.segment);
        p.status = kv_.write_unlogged(std::move(p.batch));
      }
    }
    for (size_t i = first; i < next; ++i) group[i]->done.set();
  }
}

Task<Status> SegmentStore::new_segment() {
  if (active_) segments_.at(active_).sealed = true;
  active_ = 0;
  active_file_.reset();
  // The directory with the most room.
  size_t dir = 0;
  uint64_t most = 0;
  for (size_t i = 0; i < options_.dirs.size(); ++i) {
    auto space = co_await runtime_.disk.space(options_.dirs[i]);
    if (space && space->free_bytes > most) most = space->free_bytes, dir = i;
  }
  uint64_t id = runtime_.rng.next() | 1;
  while (segments_.contains(id)) id = runtime_.rng.next() | 1;
  Segment segment;
  segment.dir = dir;
  segment.sealed = false;
  segments_[id] = segment;
  std::string final_path = path(id), folder = options_.dirs[dir] + "/segments";
  std::string new_path = final_path + ".new";
  auto file = co_await runtime_.disk.open(new_path, Disk::Open::kCreate);
  if (!file) {
    segments_.erase(id);
    co_return tl::unexpected<Error>(std::move(file).error());
  }
  std::vector<Blob> header;
  header.push_back(Blob::own(encode_segment_header(id)));
  Status done = co_await (*file)->allocate(options_.segment_bytes);
  if (done) done = co_await (*file)->write_sync(0, std::move(header));
  if (done) done = co_await runtime_.disk.rename(new_path, final_path);
  if (done) done = co_await runtime_.disk.sync_dir(folder);
  if (!done) {
    segments_.erase(id);
    file->reset();
    Status removed = co_await runtime_.disk.remove(new_path);
    if (!removed) log_debug("{} stays: {}", new_path, to_string(removed.error()));
    if (done.is(ErrorCode::kIo) && !failed_) {
      failed_ = true;
      options_.fatal(done.error());
    }
    co_return done;
  }
  active_ = id;
  active_file_ = std::move(*file);
  open_files_.emplace_front(id, active_file_);
  co_return Status();
}

Task<Result<std::shared_ptr<File>>> SegmentStore::file(uint64_t segment) {
  for (auto it = open_files_.begin(); it != open_files_.end(); ++it) {
    if (it->first != segment) continue;
    open_files_.splice(open_files_.begin(), open_files_, it);
    co_return open_files_.front().second;
  }
  if (!segments_.contains(segment)) co_return fail(ErrorCode::kNotFound, "the segment is gone");
  CO_TRY(std::unique_ptr<File> opened,
         co_await runtime_.disk.open(path(segment), Disk::Open::kReadWrite));
  open_files_.emplace_front(segment, std::shared_ptr<File>(std::move(opened)));
  if (open_files_.size() > kOpenFilesMax) open_files_.pop_back();
  co_return open_files_.front().second;
}

bool SegmentStore::has(BlockId id) {
  auto place = find(id);
  return place && place->has_value();
}

bool SegmentStore::refused(VersionId version) {
  auto row = kv_.get(refused_key(version));
  return !row || row->has_value();  // an unreadable row must not let a refused version through
}

Task<Result<SegmentStore::Stored>> SegmentStore::get(BlockId id, uint32_t offset, uint32_t size) {
  CO_TRY(std::optional<Place> place, find(id));
  if (!place) co_return fail(ErrorCode::kNotFound, "no such block here");
  if (offset + static_cast<uint64_t>(size) > place->payload_bytes)
    co_return fail(ErrorCode::kInvalid, "beyond the block's end");
  CO_TRY(std::shared_ptr<File> file, co_await this->file(place->segment));
  // The checksums end 4 bytes before the payload.
  size_t first_chunk = offset / kChunkBytes,
         end_chunk = (offset + size + kChunkBytes - 1) / kChunkBytes;
  size_t chunks = (place->payload_bytes + kChunkBytes - 1) / kChunkBytes;
  uint64_t payload = place->start + place->head_bytes;
  uint64_t crcs_at = payload - 4 - 4 * chunks;
  uint64_t from = payload + first_chunk * kChunkBytes;
  uint64_t to = payload + std::min<uint64_t>(end_chunk * kChunkBytes, place->payload_bytes);
  bool one_read = first_chunk == 0;
  uint64_t begin = one_read ? crcs_at : from;
  size_t bytes = static_cast<size_t>(to - begin);
  Result<Blob> read = Blob();
  if (bytes <= kReadNowBytesMax + kChunkBytes) {
    read = file->read_now(begin, bytes);
  } else {
    read = co_await file->read(begin, bytes);
  }
  Blob crcs;
  if (read && !one_read) {
    CO_TRY(crcs, file->read_now(crcs_at, 4 * chunks));
  } else if (read) {
    crcs = read->slice(0, 4 * chunks);
    *read = read->slice(std::min(read->size(), 4 * chunks + 4));
  }
  Status good = read ? Status() : fail(ErrorCode::kIo, read.error().message);
  if (read) {
    Reader r(crcs.view());
    std::vector<uint32_t> values;
    for (size_t i = 0; i < chunks; ++i) values.push_back(r.u32());
    good = r.ok() && read->size() == to - from
               ? verify_chunks(values, first_chunk, read->view())
               : fail(ErrorCode::kCorrupt, "a block ends too early");
  }
  if (!good) {  // set aside: never served, never asked again; a peer's copy takes its place
    ++quarantined_;
    log_error("block {} {} in {} is bad ({}); it will be fetched from another node",
              id.version.hex(), id.index, path(place->segment), good.error().message);
    WriteBatch batch;
    forget(batch, id, *place);
    CO_TRY_STATUS(kv_.write_unlogged(std::move(batch)));
    co_return fail(ErrorCode::kCorrupt, good.error().message);
  }
  co_return Stored{read->slice(offset - first_chunk * kChunkBytes, size), place->payload_bytes};
}

Task<Result<RecordHead>> SegmentStore::head_at(File& file, const Place& place) {
  CO_TRY(Blob bytes, file.read_now(place.start, place.head_bytes));
  auto head = decode_record_head(bytes.view(), place.segment);
  if (!head) co_return fail(ErrorCode::kCorrupt, "a record's head is bad");
  co_return std::move(*head);
}

Task<Result<RecordHead>> SegmentStore::head_of(BlockId id) {
  CO_TRY(std::optional<Place> place, find(id));
  if (!place) co_return fail(ErrorCode::kNotFound, "no such block here");
  CO_TRY(std::shared_ptr<File> file, co_await this->file(place->segment));
  co_return co_await head_at(*file, *place);
}

Task<Result<std::pair<RecordHead, Blob>>> SegmentStore::read_record(BlockId id) {
  CO_TRY(std::optional<Place> place, find(id));
  if (!place) co_return fail(ErrorCode::kNotFound, "no such block here");
  CO_TRY(std::shared_ptr<File> file, co_await this->file(place->segment));
  CO_TRY(RecordHead head, co_await head_at(*file, *place));
  CO_TRY(Stored stored, co_await get(id, 0, head.payload_bytes));
  co_return std::pair(std::move(head), std::move(stored.bytes));
}

Task<Status> SegmentStore::drop(VersionId version) {
  WriteBatch batch;
  batch.use_reserve();
  std::string begin(1, static_cast<char>(TableId::kBlockIndex)), end;
  begin.append(version.view());
  end = begin + std::string(4, '\xff') + '\0';
  std::vector<BlockId> ids;
  auto rows = kv_.scan(begin, end);
  for (; rows->valid(); rows->next()) {
    Reader r(rows->key().substr(1 + VersionId::kSize));
    ids.push_back({version, r.u32_be()});
  }
  CO_TRY_STATUS(rows->status());
  rows.reset();
  for (const BlockId& id : ids) {
    CO_TRY(std::optional<Place> place, find(id));
    if (!place) continue;
    forget(batch, id, *place);
  }
  // Not the segments' rows: this batch is logged, the index rows that a segment's position speaks
  // for are not, and a position that outlives them would lose acknowledged blocks.
  batch.put(refused_key(version), "");
  co_return co_await kv_.write(std::move(batch));
}

}  // namespace covey
