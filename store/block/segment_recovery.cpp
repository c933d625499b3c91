// Opening: which segments are there, and what do they hold that Kv does not know?
#include <algorithm>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "store/block/block_rows.h"
#include "store/block/segment_store.h"
#include "store/meta/keyspace.h"

namespace covey {
namespace {

constexpr size_t kScanBytes = 4 * kMiB;  // looked through at a time for the next record
constexpr size_t kErasedAtOnce = 4096;

}  // namespace

Task<Status> SegmentStore::open(std::function<void(BlockKey)> recovered) {
  tight_ = true;
  CO_TRY_STATUS(co_await forget_old_index());
  for (size_t dir = 0; dir < options_.dirs.size(); ++dir) {
    std::string folder = options_.dirs[dir] + "/segments";
    CO_TRY_STATUS(co_await runtime_.disk.make_dir(folder));
    CO_TRY_STATUS(co_await runtime_.disk.sync_dir(options_.dirs[dir]));
    CO_TRY(std::vector<std::string> names, co_await runtime_.disk.list(folder));
    for (const std::string& name : names) {
      if (name.ends_with(".new")) {  // never used: it was not renamed
        CO_TRY_STATUS(co_await runtime_.disk.remove(folder + "/" + name));
        continue;
      }
      auto raw = name.size() == 20 && name.ends_with(".seg") ? hex_decode(name.substr(0, 16))
                                                             : std::nullopt;
      if (!raw) {
        log_warn("{}/{} is not a segment; it is left alone", folder, name);
        continue;
      }
      CO_TRY_STATUS(co_await open_segment(Reader(*raw).u64_be(), dir, recovered));
    }
    CO_TRY_STATUS(co_await ballast_.open(dir));
    CO_TRY(DiskSpace space, co_await runtime_.disk.space(options_.dirs[dir]));
    if (space.free_bytes >= options_.segment_bytes) tight_ = false;
  }
  CO_TRY_STATUS(co_await forget_lost());
  co_return count_all();
}

// A data folder may be older than the metadata, or empty: what the index names and no segment holds
// is fetched from other nodes.
Task<Status> SegmentStore::forget_lost() {
  std::string begin = table_begin(TableId::kBlockIndex);
  std::string end = table_end(TableId::kBlockIndex);
  uint64_t lost = 0;
  for (bool more = true; more;) {
    WriteBatch batch;
    std::vector<BlockKey> keys;
    auto rows = kv_.scan(begin, end);
    for (; rows->valid() && keys.size() < kErasedAtOnce; rows->next()) {
      auto key = decode_block_row_key(rows->key());
      auto place = decode_place(rows->value());
      if (!key || !place) continue;  // count_all() says what is wrong
      auto segment = segments_.find(place->segment);
      if (segment != segments_.end() &&
          place->start + place->record_bytes() <= segment->second.found_bytes)
        continue;
      batch.erase(std::string(rows->key()));
      keys.push_back(*key);
    }
    CO_TRY_STATUS(rows->status());
    more = rows->valid();
    if (more) begin = std::string(rows->key());
    rows.reset();
    if (keys.empty()) continue;
    lost += keys.size();
    CO_TRY_STATUS(co_await keep(std::move(batch)));
    for (const BlockKey& key : keys)
      if (damaged_) damaged_(key);
  }
  if (lost > 0)
    log_error(
        "{} blocks that this node kept are not in its data folders any more: they are fetched from "
        "other nodes",
        lost);
  co_return Status();
}

// Until blocks stood under their home partition the index was another: it is made again from the
// segments, all of them read from the start.
Task<Status> SegmentStore::forget_old_index() {
  std::string begin = table_begin(TableId::kBlockIndex);
  std::string end = table_end(TableId::kSegments);
  auto first = kv_.scan(begin, table_begin(TableId::kBlockDebts));
  bool old = first->valid() && !decode_block_row_key(first->key());
  CO_TRY_STATUS(first->status());
  first.reset();
  while (old) {
    // Positions first: one that outlives the index it speaks for would hide blocks.
    WriteBatch batch;
    for (TableId table : {TableId::kSegments, TableId::kBlockDebts, TableId::kBlockIndex}) {
      begin[0] = static_cast<char>(table);
      end[0] = static_cast<char>(static_cast<uint8_t>(table) + 1);
      auto rows = kv_.scan(begin, end);
      for (; rows->valid() && batch.ops().size() < kErasedAtOnce; rows->next())
        batch.erase(std::string(rows->key()));
      CO_TRY_STATUS(rows->status());
    }
    old = !batch.empty();
    if (old) {
      CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
    }
  }
  co_return Status();
}

// What is live is what the index says; the counts in the segments' rows may be older than a drop.
Status SegmentStore::count_all() {
  std::map<uint64_t, uint64_t> live;
  auto rows = kv_.scan(table_begin(TableId::kBlockIndex), table_end(TableId::kBlockIndex));
  home_bytes_.clear();
  for (; rows->valid(); rows->next()) {
    auto key = decode_block_row_key(rows->key());
    if (!key) return fail(ErrorCode::kCorrupt, "a key of the block index does not decode");
    TRY(Place place, decode_place(rows->value()));
    live[place.segment] += place.record_bytes();
    home_bytes_[key->home] += place.record_bytes();
  }
  TRY_STATUS(rows->status());
  live_bytes_ = dead_bytes_ = 0;
  for (auto& [id, segment] : segments_) {
    segment.dead = segment.used - std::min(segment.used, live[id]);
    live_bytes_ += segment.used - segment.dead;
    dead_bytes_ += segment.dead;
  }
  return Status();
}

Task<Status> SegmentStore::open_segment(uint64_t id, size_t dir,
                                        std::function<void(BlockKey)>& recovered) {
  Segment& segment = segments_[id];
  segment.dir = dir;
  segment.written = runtime_.clock.now();
  CO_TRY(std::optional<KvValue> row, kv_.get(segment_key(id)));
  if (row) {
    Reader r(row->bytes);
    segment.end = r.u64();
    segment.used = r.u64();
    segment.dead = r.u64();
    if (!r.done()) co_return fail(ErrorCode::kCorrupt, "a segment's row does not decode");
  }
  live_bytes_ += segment.used - std::min(segment.used, segment.dead);
  dead_bytes_ += segment.dead;
  CO_TRY(std::shared_ptr<File> file, co_await this->file(id));
  segment.found_bytes = file->size();
  if (row && segment.end >= file->size()) co_return Status();
  co_return co_await scan(id, *file, recovered);
}

// Reads records from the remembered end on. What is not a record there is a torn write, never
// acknowledged, unless valid records follow: those count, the hole does not.
Task<Status> SegmentStore::scan(uint64_t id, File& file, std::function<void(BlockKey)>& recovered) {
  uint64_t at = segments_.at(id).end;
  uint64_t window_at = at;
  Blob window;  // the file's bytes from window_at on: small records share one read
  auto held = [&](uint64_t from, uint64_t bytes) {
    return from >= window_at && from + bytes <= window_at + window.size();
  };
  size_t holes = 0;
  bool in_hole = false;
  std::vector<std::pair<BlockKey, Place>> found;
  while (at + kRecordFixedBytes < file.size()) {
    uint64_t head_bytes = std::min<uint64_t>(kRecordHeadBytesMax, file.size() - at);
    if (!held(at, head_bytes)) {
      CO_TRY(window, co_await file.read(at, kScanBytes));
      window_at = at;
      if (!held(at, head_bytes)) break;  // somebody cut the file
    }
    auto head = decode_record_head(window.view().substr(at - window_at, head_bytes), id);
    Blob payload;
    if (head) {
      uint64_t from = at + head->head_bytes();
      if (held(from, head->payload_bytes)) {
        payload = window.slice(from - window_at, head->payload_bytes);
      } else {
        CO_TRY(payload, co_await file.read(from, head->payload_bytes));
      }
    }
    if (!head || payload.size() != head->payload_bytes ||
        !verify_chunks(head->chunk_crcs, 0, payload.view())) {
      in_hole = true;
      at += kRecordAlign;
      continue;
    }
    // A large write begins at the next multiple: what it skips is no hole.
    if (in_hole && at - segments_.at(id).end >= kDirectAlign) ++holes;
    in_hole = false;
    Segment& segment = segments_.at(id);
    Place place{id, static_cast<uint32_t>(at), static_cast<uint32_t>(head->head_bytes()),
                head->payload_bytes};
    // Written again: a sync that failed before the process died may have left it in the page cache
    // only, where no later sync takes it from.
    if (!SEEDED_BUG("block-recovered-unsynced")) {
      std::vector<Blob> record;
      record.push_back(Blob::copy(window.view().substr(at - window_at, head->head_bytes())));
      record.push_back(payload);
      CO_TRY_STATUS(co_await file.write(at, std::move(record)));
    }
    segment.used += place.record_bytes();
    segment.end = at = head->end_of(at);
    auto dropped = refused_for_good(head->id.version);
    if (dropped && *dropped) {
      segment.dead += place.record_bytes();
      dead_bytes_ += place.record_bytes();
    } else {
      found.emplace_back(BlockKey{head->home, head->id}, place);
    }
  }
  if (holes > 0)
    log_warn(
        "{}: {} places do not hold valid records; their blocks will be fetched from other nodes",
        path(id), holes);
  if (!SEEDED_BUG("block-recovered-unsynced")) {
    CO_TRY_STATUS(co_await file.sync());
  }
  for (const auto& [key, place] : found) {
    WriteBatch batch;
    remember(batch, key, place);
    CO_TRY_STATUS(co_await keep(std::move(batch)));
    recovered(key);
  }
  // Sealed: nothing more to learn from it. What was reserved beyond its records is given back.
  Segment& segment = segments_.at(id);
  Status cut = co_await file.truncate(segment.end);
  if (!cut) log_warn("{} keeps its unused space: {}", path(id), to_string(cut.error()));
  segment.end = std::max<uint64_t>(segment.end, file.size());
  WriteBatch batch;
  remember(batch, id);
  co_return co_await keep(std::move(batch));
}

// Recovery may find more than the tables in memory take at once.
Task<Status> SegmentStore::keep(WriteBatch batch) {
  WriteBatch again = batch;
  Status kept = kv_.write_unlogged(std::move(batch));
  if (!kept.is(ErrorCode::kOverloaded)) co_return kept;
  CO_TRY_STATUS(co_await kv_.fold());
  co_return kv_.write_unlogged(std::move(again));
}

}  // namespace covey
